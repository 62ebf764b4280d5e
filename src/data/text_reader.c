#include "data/text_reader.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Length of the character at `text` by its first byte and the range of the second (RFC 3629, section 4); 0 if
 * it is not one, or not all there. */
static size_t character_bytes(const unsigned char *text, size_t bytes)
{
  unsigned char lead = text[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (length > bytes) return 0;
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (text[1] < low || text[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if ((text[i] & 0xC0) != 0x80) return 0;
  return length;
}

size_t qg_utf8_valid_bytes(const char *text, size_t bytes)
{
  const unsigned char *start = (const unsigned char *)text;
  size_t at = 0;
  while (at < bytes) {
    size_t length = character_bytes(start + at, bytes - at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

typedef struct {
  const qg_text_options *options;
  qg_text_sink sink;
  const char *path;
  int64_t line; /* number of the line just read, from 1 */
  char *buffer; /* text of the present document that no piece has carried yet; owned */
  size_t used, capacity;
  bool in_document; /* a piece of the present document has been passed on */
} text_reader;

static bool is_blank(const char *text, size_t bytes)
{
  for (size_t i = 0; i < bytes; i++)
    if (!strchr(" \t\r\n\f\v", text[i]) || text[i] == '\0') return false;
  return true;
}

static size_t without_line_end(const char *line, size_t bytes)
{
  if (bytes > 0 && line[bytes - 1] == '\n') bytes--;
  if (bytes > 0 && line[bytes - 1] == '\r') bytes--;
  return bytes;
}

static bool is_separator(const text_reader *reader, const char *line, size_t bytes)
{
  const char *marker = reader->options->marker;
  switch (reader->options->split) {
    case QG_SPLIT_PARAGRAPH:
      return is_blank(line, bytes);
    case QG_SPLIT_DOCUMENT:
      return without_line_end(line, bytes) == strlen(marker) && memcmp(line, marker, strlen(marker)) == 0;
    default:
      return false;
  }
}

static bool is_space(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The last `c` among text[1 .. most] that follows no white space: tokens may hold several spaces, but none
 * ends in the first of them. 0: there is none. */
static size_t last_beginning(const char *text, size_t most, char c)
{
  for (const char *cut = text + 1 + most; (cut = memrchr(text + 1, c, (size_t)(cut - text - 1)));)
    if (!is_space(cut[-1])) return (size_t)(cut - text);
  return 0;
}

/* The bytes of text, which has more than `most`, that make the next piece: as many whole lines as fit, else
 * words, else characters. The line end or space begins the next piece. */
static size_t cut_point(const char *text, size_t most)
{
  size_t cut = last_beginning(text, most, '\n');
  if (cut == 0) cut = last_beginning(text, most, ' ');
  if (cut > 0) return cut;
  size_t whole = qg_utf8_valid_bytes(text, most);
  return whole > 0 ? whole : most;
}

static qg_status pass_on(text_reader *reader, const char *text, size_t bytes)
{
  QG_TRY(reader->sink.piece(reader->sink.context, text, bytes));
  reader->in_document = true;
  return QG_OK;
}

/* Passes on what does not fit into one piece. The rest is moved once, so that a line of gigabytes is not
 * copied for each piece. */
static qg_status pass_on_surplus(text_reader *reader)
{
  size_t most = reader->options->piece_bytes, done = 0;
  while (reader->used - done > most) {
    size_t bytes = cut_point(reader->buffer + done, most);
    QG_TRY(pass_on(reader, reader->buffer + done, bytes));
    done += bytes;
  }
  if (done > 0) memmove(reader->buffer, reader->buffer + done, reader->used - done);
  reader->used -= done;
  return QG_OK;
}

static qg_status append(text_reader *reader, const char *line, size_t bytes)
{
  if (reader->used + bytes > reader->capacity) {
    size_t capacity = 2 * (reader->used + bytes);
    char *larger = realloc(reader->buffer, capacity);
    QG_CHECK(larger, QG_ERR_RESOURCE, "no host memory for %zu bytes of %s", capacity, reader->path);
    reader->buffer = larger;
    reader->capacity = capacity;
  }
  memcpy(reader->buffer + reader->used, line, bytes);
  reader->used += bytes;
  return QG_OK;
}

static qg_status end_document(text_reader *reader)
{
  if (reader->used > 0 && (reader->in_document || !is_blank(reader->buffer, reader->used)))
    QG_TRY(pass_on(reader, reader->buffer, reader->used));
  bool ended = reader->in_document;
  reader->used = 0;
  reader->in_document = false;
  return ended ? reader->sink.end(reader->sink.context) : QG_OK;
}

static qg_status take_line(text_reader *reader, const char *line, size_t bytes)
{
  size_t valid = qg_utf8_valid_bytes(line, bytes);
  bool compressed = reader->line == 1 && bytes >= 2 &&
                    (memcmp(line, "\x1f\x8b", 2) == 0 || memcmp(line, "\x28\xb5", 2) == 0);
  QG_CHECK(
      !compressed, QG_ERR_INPUT,
      "%s is compressed: give its text by standard input, as in zcat FILE.gz | qgalore_tok ... -, or zstdcat",
      reader->path);
  QG_CHECK(valid == bytes, QG_ERR_INPUT,
           "%s:%lld: byte %zu of the line is not UTF-8: convert the text with iconv", reader->path,
           (long long)reader->line, valid + 1);
  const char *zero = memchr(line, '\0', bytes);
  QG_CHECK(!zero, QG_ERR_INPUT,
           "%s:%lld: byte %zu of the line is NUL: is this a text? Remove it with tr -d '\\000'", reader->path,
           (long long)reader->line, (size_t)(zero - line) + 1);
  if (is_separator(reader, line, bytes)) return end_document(reader);
  QG_TRY(append(reader, line, bytes));
  return pass_on_surplus(reader);
}

static qg_status read_lines(text_reader *reader, FILE *file)
{
  qg_status status = QG_OK;
  char *line = NULL;
  size_t capacity = 0;
  ssize_t bytes;
  while ((bytes = getline(&line, &capacity, file)) > 0) {
    reader->line++;
    size_t mark = reader->line == 1 && bytes >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    if (mark && reader->sink.byte_order_mark)
      reader->sink.byte_order_mark(reader->sink.context, reader->path);
    QG_TRY_OUT(take_line(reader, line + mark, (size_t)bytes - mark));
  }
  QG_CHECK_OUT(feof(file), QG_ERR_INPUT, "cannot read the text %s: %s", reader->path, strerror(errno));
  QG_TRY_OUT(end_document(reader));
out:
  free(line);
  return status;
}

/* Opening a pipe waits for its writer, perhaps for ever. Those of a shell (<(command) is /dev/fd/N) have one.
 */
static qg_status refuse_named_pipe(const char *path)
{
  struct stat info;
  bool pipe = stat(path, &info) == 0 && S_ISFIFO(info.st_mode) && strncmp(path, "/dev/fd/", 8) != 0 &&
              strncmp(path, "/proc/", 6) != 0;
  QG_CHECK(!pipe, QG_ERR_INPUT, "%s is a pipe: give its text by standard input, as in qgalore_tok ... - <%s",
           path, path);
  return QG_OK;
}

qg_status qg_text_read(const char *path, const qg_text_options *options, qg_text_sink sink)
{
  bool standard_input = strcmp(path, "-") == 0;
  if (!standard_input) QG_TRY(refuse_named_pipe(path));
  FILE *file = standard_input ? stdin : fopen(path, "rbe");
  QG_CHECK(file, QG_ERR_INPUT, "cannot open the text %s: %s", path, strerror(errno));
  text_reader reader = {.options = options, .sink = sink, .path = standard_input ? "standard input" : path};
  qg_status status = read_lines(&reader, file);
  free(reader.buffer);
  if (!standard_input) fclose(file);
  return status;
}
