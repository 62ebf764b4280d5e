#include "config/suggest.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 63 };

static int min3(int a, int b, int c)
{
  int m = a < b ? a : b;
  return m < c ? m : c;
}

static int differ(char a, char b)
{
  return tolower((unsigned char)a) != tolower((unsigned char)b);
}

/* Optimal string alignment (Damerau-Levenshtein without overlapping swaps), blind to case. */
int qg_edit_distance(const char *a, const char *b)
{
  size_t m = strnlen(a, NAME_MAX_LENGTH + 1), n = strnlen(b, NAME_MAX_LENGTH + 1);
  if (m > NAME_MAX_LENGTH || n > NAME_MAX_LENGTH) return QG_SUGGEST_NONE;
  int d[NAME_MAX_LENGTH + 1][NAME_MAX_LENGTH + 1];
  for (size_t i = 0; i <= m; i++) d[i][0] = (int)i;
  for (size_t j = 0; j <= n; j++) d[0][j] = (int)j;
  for (size_t i = 1; i <= m; i++)
    for (size_t j = 1; j <= n; j++) {
      d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + differ(a[i - 1], b[j - 1]));
      if (i > 1 && j > 1 && !differ(a[i - 1], b[j - 2]) && !differ(a[i - 2], b[j - 1]) &&
          d[i - 2][j - 2] + 1 < d[i][j])
        d[i][j] = d[i - 2][j - 2] + 1;
    }
  return d[m][n];
}

void qg_suggest_consider(const char *wrong, const char *candidate, const char **best, int *distance)
{
  /* A third of the letters may be wrong: "lrr" finds lr, but "x" does not. */
  int allowed = (int)(strnlen(wrong, NAME_MAX_LENGTH) + 2) / 3;
  int edits = qg_edit_distance(wrong, candidate);
  if (edits > allowed || edits >= (int)strlen(candidate) || edits >= *distance) return;
  *best = candidate;
  *distance = edits;
}
