/* Input files: sections with key = value, read by inih, which splits lines into section, key and value.
 *
 * The reader below feeds it line by line. That gives line numbers, `#` comments and indentation under
 * every build of the library, and lets us refuse what inih would cut or skip in silence. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/parse.h"
#include "qgalore/base.h"

enum { LINE_BYTES = 16384, FILE_BYTES_MAX = 1 << 20, INCLUDES_MAX = 256, DEPTH_MAX = 16 };

/* Where the library was built with limits as variables, the longest line is one of them. */
extern int ini_max_line __attribute__((weak));

/* One file that is being read; those that include it are its parents. */
typedef struct file_frame {
  struct file_frame *parent;
  qg_loader *loader;
  FILE *stream;
  const char *path;
  struct stat identity;
  int depth, line;
  int64_t bytes;
  bool awaiting_key;                  /* the last line must give a key: inih has not called back yet */
  bool skip_section;                  /* the section is unknown and was reported */
  int first_line[QG_SCHEMA_KEYS_MAX]; /* where a key was given in this file, 0: nowhere */
} file_frame;

static const char *origin_of(const file_frame *frame, char *buffer)
{
  snprintf(buffer, QG_ORIGIN_MAX, "%.*s:%d", QG_PATH_MAX - 1, frame->path, frame->line);
  return buffer;
}

static void report(file_frame *frame, const char *what)
{
  char origin[QG_ORIGIN_MAX];
  qg_input_errors_add(&frame->loader->errors, origin_of(frame, origin), "%s", what);
}

typedef enum { LINE_READ, LINE_TOO_LONG, LINE_END, LINE_NOT_TEXT } line_result;

static line_result read_bytes(file_frame *frame, char *buffer, int size)
{
  int c, n = 0;
  bool too_long = false;
  while ((c = getc(frame->stream)) != EOF && c != '\n') {
    if (++frame->bytes > FILE_BYTES_MAX || (c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
      return LINE_NOT_TEXT;
    if (n < size - 1) buffer[n++] = (char)c;
    else
      too_long = true;
  }
  buffer[n] = '\0';
  if (c == EOF && n == 0) return LINE_END;
  return too_long ? LINE_TOO_LONG : LINE_READ;
}

/* Removes indentation (inih takes it for a continued value), the byte order mark and comments. */
static void strip_line(char *line, bool first_line)
{
  char *start = line;
  if (first_line && !strncmp(start, "\xEF\xBB\xBF", 3)) start += 3;
  start += strspn(start, " \t");
  memmove(line, start, strlen(start) + 1);
  for (char *p = line; *p; p++)
    if ((*p == '#' || *p == ';') && (p == line || isblank((unsigned char)p[-1]))) {
      *p = '\0';
      break;
    }
  size_t length = strlen(line);
  while (length && isspace((unsigned char)line[length - 1])) line[--length] = '\0';
}

static void begin_section(file_frame *frame, char *line)
{
  char origin[QG_ORIGIN_MAX], *close = strchr(line, ']');
  frame->skip_section = true;
  if (!close || close[1]) {
    report(frame, "this is not a section; write [name] on a line of its own");
    line[0] = '\0';
    return;
  }
  *close = '\0';
  frame->skip_section = strcmp(line + 1, "include") && !qg_schema_has_section(line + 1);
  if (frame->skip_section) qg_loader_unknown_section(frame->loader, origin_of(frame, origin), line + 1);
  *close = ']';
}

static void report_missing_key(file_frame *frame)
{
  if (frame->awaiting_key) report(frame, "expected 'key = value', '[section]' or a '# comment'");
  frame->awaiting_key = false;
}

/* ini_reader: hands out the next line, stripped; NULL at the end and when the file is not text. */
static char *next_line(char *buffer, int size, void *user)
{
  file_frame *frame = user;
  report_missing_key(frame);
  line_result result = read_bytes(frame, buffer, size);
  if (result == LINE_END) return NULL;
  frame->line++;
  if (result == LINE_NOT_TEXT) {
    report(frame, "a control character or more than 1 MiB; this is not an input file");
    frame->loader->incomplete = true;
    return NULL;
  }
  if (result == LINE_TOO_LONG) {
    char what[96];
    snprintf(what, sizeof what, "the line is longer than %d characters; shorten it", size - 1);
    report(frame, what);
    buffer[0] = '\0';
  }
  strip_line(buffer, frame->line == 1);
  if (buffer[0] == '[') begin_section(frame, buffer);
  else
    frame->awaiting_key = buffer[0] != '\0';
  return buffer;
}

static void include_file(file_frame *frame, const char *name);

static void report_second(file_frame *frame, const qg_key *key, int first_line)
{
  char what[256];
  snprintf(what, sizeof what, "%s.%s%s%s%s: given twice, first in line %d; keep one", key->section, key->name,
           key->former ? " (formerly " : "", key->former ? key->former : "", key->former ? ")" : "",
           first_line);
  report(frame, what);
}

static void set_key(file_frame *frame, const char *section, const char *name, const char *value)
{
  char origin[QG_ORIGIN_MAX];
  origin_of(frame, origin);
  int index = qg_schema_find(section, name);
  if (index < 0) {
    qg_loader_unknown_key(frame->loader, origin, section, name);
    return;
  }
  if (frame->first_line[index]) {
    report_second(frame, &qg_schema[index], frame->first_line[index]);
    return;
  }
  frame->first_line[index] = frame->line;
  qg_loader_set(frame->loader, index, value, origin);
}

/* ini_handler. Always goes on: all errors are wanted at once. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
  file_frame *frame = user;
  frame->awaiting_key = false;
  if (frame->skip_section) return 1;
  bool outside = section[0] == '\0' || !strcmp(section, "include");
  if (outside && (!strcmp(name, "include") || (section[0] && !strcmp(name, "file"))))
    include_file(frame, value);
  else
    set_key(frame, section, name, value);
  return 1;
}

static void read_frame(file_frame *frame)
{
  if (&ini_max_line) ini_max_line = LINE_BYTES;
  /* Bad lines were reported with their numbers by next_line; inih's own verdict adds nothing. */
  (void)ini_parse_stream(next_line, frame, on_key, frame);
  report_missing_key(frame);
  if (ferror(frame->stream)) report(frame, "cannot be read to its end; check the file system");
}

static bool is_open_above(const file_frame *frame)
{
  for (const file_frame *f = frame->parent; f; f = f->parent)
    if (f->identity.st_dev == frame->identity.st_dev && f->identity.st_ino == frame->identity.st_ino)
      return true;
  return false;
}

/* Opening a pipe or a terminal may wait for ever; as the input itself, a pipe is what the user asked for. */
static bool can_be_included(const char *path)
{
  struct stat identity;
  return stat(path, &identity) != 0 || S_ISREG(identity.st_mode) || S_ISDIR(identity.st_mode);
}

/* Opens `path` and reads it; says at `origin` why it cannot. */
static void read_path(qg_loader *loader, file_frame *parent, const char *path, const char *origin)
{
  file_frame frame = {
      .parent = parent, .loader = loader, .path = path, .depth = parent ? parent->depth + 1 : 0};
  int before = loader->errors.count;
  bool opens = !parent || can_be_included(path);
  frame.stream = opens ? fopen(path, "re") : NULL;
  if (!opens)
    qg_input_errors_add(&loader->errors, origin, "'%.256s' is a pipe or a device; include a file", path);
  else if (!frame.stream)
    qg_input_errors_add(&loader->errors, origin, "cannot open '%.256s': %s", path, strerror(errno));
  else if (fstat(fileno(frame.stream), &frame.identity) != 0 || S_ISDIR(frame.identity.st_mode))
    qg_input_errors_add(&loader->errors, origin, "'%.256s' is a folder; give an input file", path);
  else if (is_open_above(&frame))
    qg_input_errors_add(&loader->errors, origin, "'%.256s' includes itself; remove this include", path);
  loader->incomplete |= loader->errors.count != before;
  if (loader->errors.count == before) read_frame(&frame);
  if (frame.stream) fclose(frame.stream);
}

/* A relative name is relative to the folder of the including file. */
static bool resolve_include(const char *from, const char *name, char *out)
{
  const char *slash = strrchr(from, '/');
  int folder = slash && name[0] != '/' ? (int)(slash - from + 1) : 0;
  return snprintf(out, QG_PATH_MAX, "%.*s%s", folder, from, name) < QG_PATH_MAX;
}

static void include_file(file_frame *frame, const char *name)
{
  qg_loader *loader = frame->loader;
  char path[QG_PATH_MAX], origin[QG_ORIGIN_MAX];
  if (!loader->may_include) report(frame, "include: not possible here; give the keys themselves");
  else if (frame->depth + 1 >= DEPTH_MAX || ++loader->includes > INCLUDES_MAX)
    report(frame, "include: more than 16 levels or 256 files; write fewer");
  else if (!name[0] || !resolve_include(frame->path, name, path))
    report(frame, "include: the path is empty or longer than 1023 characters");
  else
    read_path(loader, frame, path, origin_of(frame, origin));
}

void qg_parse_file(qg_loader *loader, const char *path)
{
  read_path(loader, NULL, path, "input");
}

void qg_parse_stream(qg_loader *loader, FILE *stream, const char *label)
{
  file_frame frame = {.loader = loader, .stream = stream, .path = label};
  loader->may_include = false;
  read_frame(&frame);
}

/* Copies [from, to) without blanks around it; false if it does not fit. */
static bool copy_trimmed(char *out, size_t size, const char *from, const char *to)
{
  while (from < to && isspace((unsigned char)*from)) from++;
  while (to > from && isspace((unsigned char)to[-1])) to--;
  size_t length = (size_t)(to - from);
  if (length >= size) return false;
  memcpy(out, from, length);
  out[length] = '\0';
  return true;
}

void qg_parse_override(qg_loader *loader, const char *text)
{
  const char *origin = "command line", *equals = strchr(text, '=');
  char name[128], value[LINE_BYTES];
  if (!equals || !copy_trimmed(name, sizeof name, text, equals) || !name[0] ||
      !copy_trimmed(value, sizeof value, equals + 1, text + strlen(text))) {
    qg_input_errors_add(&loader->errors, origin, "'%.60s' is not section.key=value; write it without blanks",
                        text);
    return;
  }
  char *dot = strchr(name, '.');
  const char *section = dot ? name : "", *key = dot ? dot + 1 : name;
  if (dot) *dot = '\0';
  int index = qg_schema_find(section, key);
  if (index >= 0) qg_loader_set(loader, index, value, origin);
  else if (dot && !qg_schema_has_section(section))
    qg_loader_unknown_section(loader, origin, section);
  else
    qg_loader_unknown_key(loader, origin, section, key);
}
