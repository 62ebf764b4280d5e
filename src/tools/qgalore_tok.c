/* qgalore_tok: text and a SentencePiece model to a token file. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/sha256.h"
#include "data/text_reader.h"
#include "qgalore/base.h"
#include "qgalore/data.h"
#include "tools/spm_shim.h"
#include "tools/tok_progress.h"

static const char help[] =
    "Usage: qgalore_tok --model M.model --out FILE.h5 [OPTIONS] TEXT...\n"
    "Writes the tokens of UTF-8 texts (\"-\": standard input) into a token file for qgalore_hpc.\n"
    "\n"
    "  -m, --model FILE    SentencePiece model, e.g. from spm_train\n"
    "  -o, --out FILE      token file to write; replaced only when all went well\n"
    "  -s, --split HOW     what a document is: file (default), paragraph (blank lines separate), or\n"
    "                      document (lines that equal the marker separate)\n"
    "      --marker LINE   marker of --split document (default: <|endoftext|>)\n"
    "      --no-bos        no beginning-of-sequence token before each document\n"
    "      --no-eos        no end-of-sequence token after each document\n"
    "      --check-roundtrip  compare all of the text with what its ids decode to, not just the first MiB\n"
    "      --verify        check token files instead: qgalore_tok --verify FILE.h5...\n"
    "      --progress S    say every S seconds how far it is (default: 1 on a terminal, else 30; 0: never)\n"
    "  -q, --quiet         print errors only\n"
    "  -h, --help          show this text\n"
    "  -V, --version       show the version\n"
    "\n"
    "Exit status: 0 done, 1 a library failed, 2 wrong usage or text, 4 no memory or disk.\n";

typedef struct {
  const char *model, *out;
  qg_text_options text;
  double progress;                                     /* seconds between two lines, < 0: by default */
  bool bos, eos, quiet, verify, check_roundtrip, done; /* done: help or version was shown */
  char **texts;
  int text_count;
} tok_options;

static const char *const split_names[QG_SPLIT_COUNT] = {
    [QG_SPLIT_FILE] = "file", [QG_SPLIT_DOCUMENT] = "document", [QG_SPLIT_PARAGRAPH] = "paragraph"};

static qg_status parse_split(const char *name, qg_text_split *out)
{
  for (int i = 0; i < QG_SPLIT_COUNT; i++)
    if (strcmp(name, split_names[i]) == 0) {
      *out = (qg_text_split)i;
      return QG_OK;
    }
  return QG_FAIL(QG_ERR_INPUT, "--split %s: use file, paragraph or document", name);
}

enum {
  OPTION_MARKER = 256,
  OPTION_NO_BOS,
  OPTION_NO_EOS,
  OPTION_VERIFY,
  OPTION_CHECK_ROUNDTRIP,
  OPTION_PROGRESS
};

/* Of each run, to see whether decoding gives the text back. */
enum { SAMPLE_BYTES = 1 << 20 };

static const struct option long_options[] = {{"model", required_argument, NULL, 'm'},
                                             {"out", required_argument, NULL, 'o'},
                                             {"split", required_argument, NULL, 's'},
                                             {"marker", required_argument, NULL, OPTION_MARKER},
                                             {"no-bos", no_argument, NULL, OPTION_NO_BOS},
                                             {"no-eos", no_argument, NULL, OPTION_NO_EOS},
                                             {"verify", no_argument, NULL, OPTION_VERIFY},
                                             {"progress", required_argument, NULL, OPTION_PROGRESS},
                                             {"check-roundtrip", no_argument, NULL, OPTION_CHECK_ROUNDTRIP},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, 'V'},
                                             {NULL, 0, NULL, 0}};

static qg_status parse_seconds(const char *text, double *out)
{
  char *end;
  *out = strtod(text, &end);
  QG_CHECK(*text && !*end && *out >= 0.0 && *out <= 1e9, QG_ERR_INPUT,
           "--progress %s: use a number of seconds", text);
  return QG_OK;
}

static qg_status take_option(tok_options *options, int option)
{
  switch (option) {
    case 'm':
      options->model = optarg;
      return QG_OK;
    case 'o':
      options->out = optarg;
      return QG_OK;
    case 's':
      return parse_split(optarg, &options->text.split);
    case OPTION_MARKER:
      options->text.marker = optarg;
      return QG_OK;
    case OPTION_NO_BOS:
      options->bos = false;
      return QG_OK;
    case OPTION_NO_EOS:
      options->eos = false;
      return QG_OK;
    case OPTION_PROGRESS:
      return parse_seconds(optarg, &options->progress);
    case OPTION_CHECK_ROUNDTRIP:
      options->check_roundtrip = true;
      return QG_OK;
    case OPTION_VERIFY:
      options->verify = true;
      return QG_OK;
    case 'q':
      options->quiet = true;
      return QG_OK;
    case 'h':
      fputs(help, stdout);
      break;
    case 'V':
      puts("qgalore_tok " QG_VERSION " (" QG_GIT ")");
      break;
    /* getopt has printed what is wrong. */
    default:
      return QG_FAIL(QG_ERR_INPUT, "qgalore_tok --help lists the options");
  }
  options->done = true;
  return QG_OK;
}

static qg_status parse_options(int argc, char **argv, tok_options *options)
{
  *options =
      (tok_options){.text = {.split = QG_SPLIT_FILE, .marker = "<|endoftext|>", .piece_bytes = 1 << 13},
                    .progress = -1.0,
                    .bos = true,
                    .eos = true};
  int option;
  while (!options->done && (option = getopt_long(argc, argv, "m:o:s:qhV", long_options, NULL)) != -1)
    QG_TRY(take_option(options, option));
  options->texts = argv + optind;
  options->text_count = argc - optind;
  if (options->done) return QG_OK;
  QG_CHECK(!options->verify || options->text_count > 0, QG_ERR_INPUT,
           "--verify needs at least one token file");
  if (options->verify) return QG_OK;
  QG_CHECK(options->model && options->out && options->text_count > 0, QG_ERR_INPUT,
           "--model, --out and at least one text are needed; qgalore_tok --help explains");
  return QG_OK;
}

typedef struct {
  qg_spm *spm;
  qg_tokens_writer *writer;
  tok_progress progress;
  int32_t bos, eos; /* -1: none */
  bool in_document; /* the writer's last document is the present one */
  int64_t tokens, documents, text_bytes, unknown;
  int64_t sample;         /* bytes of text that are still to be compared with what their ids decode to */
  int64_t compared, lost; /* bytes */
  int64_t lost_of[256];   /* by their value */
} tok_job;

static qg_status put(tok_job *job, const int32_t *ids, int64_t count, int64_t text_bytes)
{
  if (job->in_document) {
    QG_TRY(qg_tokens_extend(job->writer, ids, count, text_bytes));
  } else {
    QG_TRY(qg_tokens_append(job->writer, ids, count, text_bytes));
    job->in_document = count > 0;
    job->documents += count > 0;
  }
  job->tokens += count;
  job->text_bytes += text_bytes;
  return QG_OK;
}

static int64_t count_of(const int32_t *ids, int64_t count, int32_t id)
{
  int64_t found = 0;
  for (int64_t i = 0; i < count; i++) found += ids[i] == id;
  return found;
}

/* Counts the bytes of each value that decoding does not give back: cheap, and it names what is lost. */
static qg_status compare(tok_job *job, const qg_spm_piece *piece, const int32_t *ids, int64_t count)
{
  const char *back;
  size_t bytes;
  int64_t balance[256] = {0};
  if (job->sample <= 0) return QG_OK;
  QG_TRY(qg_spm_decode(job->spm, piece->continues, ids, count, &back, &bytes));
  for (size_t i = 0; i < piece->bytes; i++) balance[(unsigned char)piece->text[i]]++;
  for (size_t i = 0; i < bytes; i++) balance[(unsigned char)back[i]]--;
  for (int value = 0; value < 256; value++) {
    int64_t lost = qg_max_i64(balance[value], 0);
    job->lost_of[value] += lost;
    job->lost += lost;
  }
  job->compared += (int64_t)piece->bytes;
  job->sample -= (int64_t)piece->bytes;
  return QG_OK;
}

static qg_status take_piece(void *context, const char *text, size_t bytes)
{
  tok_job *job = context;
  const int32_t *ids;
  int64_t count;
  qg_spm_piece piece = {text, bytes, job->in_document};
  QG_TRY(qg_spm_encode(job->spm, &piece, &ids, &count));
  QG_TRY(compare(job, &piece, ids, count));
  if (!job->in_document && job->bos >= 0) QG_TRY(put(job, &job->bos, 1, 0));
  job->unknown += count_of(ids, count, qg_spm_unknown(job->spm));
  tok_progress_add(&job->progress, (int64_t)bytes);
  return put(job, ids, count, (int64_t)bytes);
}

static void tell_byte_order_mark(void *context, const char *path)
{
  (void)context;
  fprintf(stderr, "qgalore_tok: %s: dropped the byte order mark at its start\n", path);
}

static qg_status end_document(void *context)
{
  tok_job *job = context;
  if (job->in_document && job->eos >= 0) QG_TRY(put(job, &job->eos, 1, 0));
  job->in_document = false;
  return QG_OK;
}

/* What the file was made from, cut off where the list of texts gets long. */
static void describe(const tok_options *options, char *out, size_t size)
{
  int used = snprintf(out, size, "qgalore_tok " QG_VERSION " --model %s --split %s%s%s", options->model,
                      split_names[options->text.split], options->bos ? "" : " --no-bos",
                      options->eos ? "" : " --no-eos");
  for (int i = 0; i < options->text_count && used >= 0 && (size_t)used < size; i++)
    used += snprintf(out + used, size - (size_t)used, " %s", options->texts[i]);
}

static qg_status create_writer(const tok_options *options, tok_job *job)
{
  char provenance[4096];
  qg_tokens_header header = {.vocab_size = qg_spm_pieces(job->spm), .provenance = provenance};
  describe(options, provenance, sizeof provenance);
  QG_TRY(qg_sha256_file(options->model, header.tokenizer_hash));
  return qg_tokens_create(options->out, &header, &job->writer);
}

/* What a model that was trained with the default normalisation does to texts is no error, but it has to be
 * known. */
static void report_losses(const tok_options *options, const tok_job *job)
{
  static const struct {
    char value;
    const char *name;
  } kinds[] = {{'\n', "line ends"}, {'\r', "carriage returns"}, {'\t', "tabs"}, {' ', "spaces"}};
  int64_t others = job->lost;
  if (job->lost == 0) return;
  printf("%s: %.2f %% of the bytes come back when the ids are decoded (%lld were compared); lost are",
         options->out, 100.0 * (1.0 - (double)job->lost / (double)job->compared), (long long)job->compared);
  for (int i = 0; i < QG_COUNT_OF(kinds); i++) {
    int64_t lost = job->lost_of[(unsigned char)kinds[i].value];
    if (lost > 0) printf(" %lld %s,", (long long)lost, kinds[i].name);
    others -= lost;
  }
  printf(
      " %lld other bytes: train the model with --normalization_rule_name=identity "
      "--remove_extra_whitespaces=false --byte_fallback to keep them\n",
      (long long)others);
}

static void report(const tok_options *options, const tok_job *job)
{
  printf("%s: %lld tokens of a vocabulary of %d, %lld document%s, %.3f bytes per token\n", options->out,
         (long long)job->tokens, qg_spm_pieces(job->spm), (long long)job->documents,
         job->documents == 1 ? "" : "s", (double)job->text_bytes / (double)job->tokens);
  if (job->unknown > 0)
    printf("%s: %lld tokens are unknown to the model: train it with --byte_fallback to keep them\n",
           options->out, (long long)job->unknown);
  report_losses(options, job);
}

/* Neither the text nor the model may be lost. Told before the texts are read, which may take hours. */
static qg_status check_files(const tok_options *options)
{
  int model;
  QG_TRY(qg_check_output("--out", options->out, &options->model, 1));
  QG_TRY(qg_check_output("--out", options->out, (const char *const *)options->texts, options->text_count));
  QG_TRY(qg_open_regular(options->model, &model));
  close(model);
  return QG_OK;
}

static qg_status tokenize(const tok_options *options)
{
  qg_status status = QG_OK;
  tok_job job = {0};
  QG_TRY_OUT(check_files(options));
  QG_TRY_OUT(qg_spm_load(options->model, &job.spm));
  job.bos = options->bos ? qg_spm_bos(job.spm) : -1;
  job.eos = options->eos ? qg_spm_eos(job.spm) : -1;
  job.sample = options->check_roundtrip ? INT64_MAX : SAMPLE_BYTES;
  QG_TRY_OUT(create_writer(options, &job));
  job.progress =
      tok_progress_begin(options->quiet ? 0.0 : options->progress, options->texts, options->text_count);
  qg_text_sink sink = {
      .context = &job, .piece = take_piece, .end = end_document, .byte_order_mark = tell_byte_order_mark};
  for (int i = 0; i < options->text_count; i++)
    QG_TRY_OUT(qg_text_read(options->texts[i], &options->text, sink));
  qg_tokens_writer *writer = job.writer;
  job.writer = NULL; /* finish frees it */
  tok_progress_end(&job.progress);
  QG_TRY_OUT(qg_tokens_finish(writer));
  if (!options->quiet) report(options, &job);
out:
  tok_progress_end(&job.progress);
  qg_tokens_discard(job.writer);
  qg_spm_free(job.spm);
  return status;
}

static qg_status verify_one(const tok_options *options, const char *path)
{
  qg_tokens *tokens;
  QG_TRY(qg_tokens_open(path, 0, 0, &tokens));
  qg_status status = qg_tokens_check(tokens);
  const qg_tokens_info *info = qg_tokens_get_info(tokens);
  if (status == QG_OK && !options->quiet)
    printf("%s: %lld tokens in %lld documents: complete and undamaged\n", path, (long long)info->tokens,
           (long long)info->documents);
  qg_tokens_close(tokens);
  return status;
}

/* A damaged file does not keep the others from being checked. */
static qg_status verify(const tok_options *options)
{
  qg_status first = QG_OK;
  for (int i = 0; i < options->text_count; i++) {
    qg_status status = verify_one(options, options->texts[i]);
    if (status == QG_OK) continue;
    if (first == QG_OK) first = status;
    fprintf(stderr, "qgalore_tok: %s\n", qg_error_message());
  }
  return first == QG_OK ? QG_OK : QG_FAIL(first, "not all files are whole");
}

int main(int argc, char **argv)
{
  tok_options options;
  qg_status status = parse_options(argc, argv, &options);
  if (status == QG_OK && !options.done) status = options.verify ? verify(&options) : tokenize(&options);
  if (status == QG_OK) status = qg_finish_output(stdout);
  if (status != QG_OK) fprintf(stderr, "qgalore_tok: %s\n", qg_error_message());
  return status;
}
