/* "did you mean": the known name closest to a misspelt one. */
#ifndef QG_CONFIG_SUGGEST_H
#define QG_CONFIG_SUGGEST_H

enum { QG_SUGGEST_NONE = 1 << 20 };

/* Edits (insert, delete, replace, swap neighbours) from a to b; QG_SUGGEST_NONE for names over 63 characters.
 */
int qg_edit_distance(const char *a, const char *b);

/* Makes `candidate` the best guess for `wrong` if it is close enough and closer than *best. Start with NULL
 * and QG_SUGGEST_NONE. */
void qg_suggest_consider(const char *wrong, const char *candidate, const char **best, int *distance);

#endif
