#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/suggest.h"
#include "qgalore/base.h"

/* What parse functions share. */
typedef struct {
  const qg_key *key;
  const char *text;
  void *member;
  qg_config *config;
  char *why;
  size_t why_size;
} job;

__attribute__((format(printf, 2, 3))) static bool refuse(const job *j, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  vsnprintf(j->why, j->why_size, fmt, args);
  va_end(args);
  return false;
}

bool qg_range_parse(const char *text, qg_range *out)
{
  char left, right, end, low[32], high[32];
  if (sscanf(text, "%c%31[^,], %31[^])]%c%c", &left, low, high, &right, &end) != 4) return false;
  if (!strchr("[(", left) || !strchr("])", right)) return false;
  char *low_end, *high_end;
  *out = (qg_range){strtod(low, &low_end), strtod(high, &high_end), left == '(', right == ')'};
  return !*low_end && !*high_end && out->low < out->high;
}

bool qg_range_contains(const qg_range *range, double value)
{
  bool above = range->low_open ? value > range->low : value >= range->low;
  bool below = range->high_open ? value < range->high : value <= range->high;
  return above && below;
}

static bool in_range(const job *j, double value)
{
  qg_range range;
  if (!j->key->range || !qg_range_parse(j->key->range, &range) || qg_range_contains(&range, value))
    return true;
  return refuse(j, "%.60s is out of the range %s", j->text, j->key->range);
}

static bool read_int(const char *text, int64_t *out, const char **end)
{
  char *stop;
  errno = 0;
  long long value = strtoll(text, &stop, 10);
  *end = stop;
  *out = value;
  return stop != text && errno == 0;
}

static bool parse_int(const job *j)
{
  int64_t value;
  const char *end;
  bool whole = read_int(j->text, &value, &end);
  if (!whole && errno == ERANGE && !*end) return refuse(j, "%.60s is beyond 64 bits", j->text);
  if (!whole || *end)
    return refuse(j, "'%.60s' is not a whole number; write for example %s", j->text,
                  j->key->fallback ? j->key->fallback : "512");
  if (!in_range(j, (double)value)) return false;
  memcpy(j->member, &value, sizeof value);
  return true;
}

static bool parse_real(const job *j)
{
  char *end;
  double value = strtod(j->text, &end);
  if (end == j->text || *end || !isfinite(value))
    return refuse(j, "'%.60s' is not a number; write for example 0.01 or 1e-8", j->text);
  if (!in_range(j, value)) return false;
  memcpy(j->member, &value, sizeof value);
  return true;
}

static bool parse_bool(const job *j)
{
  static const struct {
    const char *name;
    bool value;
  } words[] = {{"yes", true}, {"true", true}, {"on", true}, {"no", false}, {"false", false}, {"off", false}};
  for (int i = 0; i < QG_COUNT_OF(words); i++) {
    if (strcmp(j->text, words[i].name)) continue;
    memcpy(j->member, &words[i].value, sizeof words[i].value);
    return true;
  }
  return refuse(j, "'%.60s' is neither yes nor no; write yes, no, true, false, on or off", j->text);
}

static const qg_choice *find_choice(const job *j)
{
  const qg_choice *lists[] = {j->key->choices, j->key->former_choices};
  for (int i = 0; i < QG_COUNT_OF(lists); i++)
    for (const qg_choice *c = lists[i]; c && c->name; c++)
      if (!strcmp(c->name, j->text)) return c;
  return NULL;
}

static bool refuse_choice(const job *j)
{
  char all[256];
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  for (const qg_choice *c = j->key->choices; c->name; c++)
    qg_suggest_consider(j->text, c->name, &best, &distance);
  qg_key_choices_text(j->key, all, sizeof all);
  if (best) return refuse(j, "'%.60s' is none of %s (did you mean '%s'?)", j->text, all, best);
  return refuse(j, "'%.60s' is none of %s", j->text, all);
}

static bool parse_enum(const job *j)
{
  const qg_choice *choice = find_choice(j);
  if (!choice) return refuse_choice(j);
  int narrow = (int)choice->value;
  if (j->key->size == sizeof narrow) memcpy(j->member, &narrow, sizeof narrow);
  else
    memcpy(j->member, &choice->value, sizeof choice->value);
  return true;
}

/* Text that would not survive a round trip through an input file. */
static const char *find_unwritable(const char *text)
{
  for (const char *p = text; *p; p++) {
    if ((unsigned char)*p < 0x20 || *p == 0x7f) return p;
    if ((*p == '#' || *p == ';') && (p == text || p[-1] == ' ')) return p;
  }
  return NULL;
}

/* A shell expands ~ on a command line only where a word begins with it. */
static bool expand_home(const job *j)
{
  const char *home = getenv("HOME");
  if (!home || !home[0]) return refuse(j, "'%.60s': the variable HOME is not set; write the path", j->text);
  int length = snprintf(j->member, j->key->size, "%s%s", home, j->text + 1);
  if ((size_t)length >= j->key->size) return refuse(j, "has %d characters with HOME; too many", length);
  return true;
}

static bool parse_text(const job *j)
{
  size_t length = strlen(j->text);
  if (j->key->choices && !find_choice(j)) return refuse_choice(j);
  if (length >= j->key->size)
    return refuse(j, "has %zu characters; at most %zu are possible", length, j->key->size - 1);
  if (length == 0 && !j->key->fallback)
    return refuse(j, "is empty; write a %s", qg_key_type_name(j->key->type));
  if (j->key->type == QG_KEY_PATH && j->text[0] == '~' && j->text[1] != '/')
    return refuse(j, "'%.60s': other users' folders are not looked up; write the path, or ~/ for your own",
                  j->text);
  if (find_unwritable(j->text))
    return refuse(j, "contains a control character, or '#' or ';' at the start of a word; use another name");
  memset(j->member, 0, j->key->size);
  if (j->key->type == QG_KEY_PATH && j->text[0] == '~') return expand_home(j);
  memcpy(j->member, j->text, length);
  return true;
}

static bool parse_duration(const job *j)
{
  double seconds;
  if (!qg_duration_parse(j->text, &seconds))
    return refuse(j, "'%.60s' is not a time; write for example 23h45m, 90s, 2d or 23:45:00", j->text);
  if (!in_range(j, seconds)) return false;
  memcpy(j->member, &seconds, sizeof seconds);
  return true;
}

static bool parse_size(const job *j)
{
  int64_t bytes;
  qg_size_result read = qg_size_parse(j->text, &bytes);
  if (read == QG_SIZE_TOO_LARGE)
    return refuse(j, "'%.60s' is too large; at most 8192TiB are possible", j->text);
  if (read != QG_SIZE_READ)
    return refuse(j, "'%.60s' is not a size; write for example 512K, 64MiB or 4GB", j->text);
  if (!in_range(j, (double)bytes)) return false;
  memcpy(j->member, &bytes, sizeof bytes);
  return true;
}

/* Counts separated by commas or blanks. */
static bool read_list(const job *j, int64_t *values, int64_t capacity, int64_t *count)
{
  const char *p = j->text;
  for (*count = 0;; (*count)++) {
    p += strspn(p, " \t");
    if (!*p && *count == 0) return true;
    if (*count == capacity) return refuse(j, "has more than %" PRId64 " numbers", capacity);
    if (!read_int(p, &values[*count], &p) || !strchr(", \t", *p))
      return refuse(j, "'%.60s' is not a list of whole numbers; write for example 7, 9, 9, 7", j->text);
    if (!in_range(j, (double)values[*count])) return false;
    p += strspn(p, " \t");
    if (!*p) {
      (*count)++;
      return true;
    }
    if (*p == ',') p++;
  }
}

static bool parse_list(const job *j)
{
  static const int64_t widest = QG_MAX_STAGES;
  int64_t values[QG_MAX_STAGES] = {0}, count;
  if (!read_list(j, values, qg_min_i64(widest, (int64_t)(j->key->size / sizeof values[0])), &count))
    return false;
  memset(j->member, 0, j->key->size);
  memcpy(j->member, values, (size_t)count * sizeof values[0]);
  memcpy((char *)j->config + j->key->count_offset, &count, sizeof count);
  return true;
}

bool qg_value_parse(const qg_key *key, const char *text, qg_config *config, char *why, size_t why_size)
{
  static bool (*const parsers[])(const job *) = {
      [QG_KEY_INT] = parse_int,           [QG_KEY_REAL] = parse_real, [QG_KEY_BOOL] = parse_bool,
      [QG_KEY_STRING] = parse_text,       [QG_KEY_PATH] = parse_text, [QG_KEY_ENUM] = parse_enum,
      [QG_KEY_DURATION] = parse_duration, [QG_KEY_SIZE] = parse_size, [QG_KEY_INT_LIST] = parse_list};
  job j = {key, text, qg_key_member(key, config), config, why, why_size};
  return parsers[key->type](&j);
}
