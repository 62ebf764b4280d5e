#include "app/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

enum { OPT_CHECK = 256, OPT_RANKS, OPT_HELP_INPUT, OPT_VERSION, OPT_LIST, OPT_STATUS, OPT_VERIFY };

static const struct option long_options[] = {
    {"check", no_argument, NULL, OPT_CHECK},
    {"ranks", required_argument, NULL, OPT_RANKS},
    {"help", no_argument, NULL, 'h'},
    {"help-input", optional_argument, NULL, OPT_HELP_INPUT},
    {"version", no_argument, NULL, OPT_VERSION},
    {"list-backends", no_argument, NULL, OPT_LIST},
    {"status", required_argument, NULL, OPT_STATUS},
    {"verify", required_argument, NULL, OPT_VERIFY},
    {NULL, 0, NULL, 0},
};

void qg_options_usage(FILE *out)
{
  fputs(
      "usage: mpirun -np RANKS qgalore_hpc [OPTIONS] FILE [section.key=value ...]\n"
      "\n"
      "Pre-trains the LLaMA that the input FILE describes with Q-GaLore, one pipeline stage a rank.\n"
      "\n"
      "run.job=NAME in FILE or behind it: pretrain (default), evaluate (the loss of a checkpoint), check.\n"
      "\n"
      "  --check [--ranks N]      explain the run without training: partition, memory, traffic, checkpoint\n"
      "  --help-input[=NAME]      every input key with type, default and meaning, or those of a section, or "
      "one\n"
      "                           (=markdown: as doc/inputs.md)\n"
      "  --status FOLDER          how the run in FOLDER stands, or all runs in a folder of runs\n"
      "  --verify CHECKPOINT      read every byte of a checkpoint against its checksums\n"
      "  --list-backends          compute backends and why one is not available\n"
      "  --version                version, compiler, libraries\n"
      "  -h, --help               this text\n"
      "\n"
      "Exit codes: 0 finished or checkpointed early, 1 runtime, 2 input, 3 checkpoint, 4 resources, 5 "
      "numerical,\n6 hang (run.watchdog).\n",
      out);
}

static qg_status parse_ranks(const char *text, int *out)
{
  char *end;
  long ranks = strtol(text, &end, 10);
  QG_CHECK(*text && !*end && ranks >= 1 && ranks <= 65536, QG_ERR_INPUT,
           "command line: --ranks wants a whole number from 1 to 65536, not \"%s\"", text);
  *out = (int)ranks;
  return QG_OK;
}

/* getopt has just passed the offending argument, except inside a cluster of letters; `optopt` is then the
 * letter, and that of an option where its argument is at fault. */
static qg_status refuse(int option, char **argv)
{
  const char letter[] = {'-', (char)optopt, '\0'};
  bool is_letter = optopt > 0 && optopt < OPT_CHECK;
  const char *why = option == ':'         ? "wants an argument"
                    : optopt >= OPT_CHECK ? "takes no argument"
                                          : "is no option";
  return QG_FAIL(QG_ERR_INPUT, "command line: %s %s; see qgalore_hpc --help",
                 is_letter ? letter : argv[optind - 1], why);
}

static qg_status take(int option, char **argv, qg_app_options *out)
{
  switch (option) {
    case OPT_CHECK:
      out->action = QG_ACTION_CHECK;
      return QG_OK;
    case OPT_RANKS:
      return parse_ranks(optarg, &out->ranks);
    case OPT_HELP_INPUT:
      out->action = QG_ACTION_HELP_INPUT;
      break;
    case OPT_VERSION:
      out->action = QG_ACTION_VERSION;
      break;
    case OPT_LIST:
      out->action = QG_ACTION_LIST_BACKENDS;
      break;
    case OPT_STATUS:
      out->action = QG_ACTION_STATUS;
      break;
    case OPT_VERIFY:
      out->action = QG_ACTION_VERIFY;
      break;
    case 'h':
      out->action = QG_ACTION_HELP;
      break;
    default:
      return refuse(option, argv);
  }
  out->argument = optarg;
  return QG_OK;
}

qg_status qg_options_parse(int argc, char **argv, qg_app_options *out)
{
  int option;
  *out = (qg_app_options){.action = QG_ACTION_TRAIN, .program = argv[0]};
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) QG_TRY(take(option, argv, out));
  if (out->action != QG_ACTION_TRAIN && out->action != QG_ACTION_CHECK) return QG_OK;
  QG_CHECK(optind < argc, QG_ERR_INPUT, "command line: no input FILE; see qgalore_hpc --help");
  out->file = argv[optind];
  out->override = argv + optind + 1;
  out->overrides = argc - optind - 1;
  return QG_OK;
}
