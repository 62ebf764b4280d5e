#include "train/data_identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

static const char beginning[] = "from sequence ";

static const char *or_unknown(const char *text)
{
  return text[0] ? text : "unknown";
}

void qg_data_identity(const qg_trainer *t, char text[QG_DATA_IDENTITY])
{
  const qg_tokens_info *info = qg_tokens_get_info(t->train_tokens);
  snprintf(text, QG_DATA_IDENTITY,
           "%s%lld: %lld tokens in %lld documents, vocabulary %lld, tokenizer %s, content %s", beginning,
           (long long)t->data_begin, (long long)info->tokens, (long long)info->documents,
           (long long)info->vocab_size, or_unknown(info->tokenizer_hash), or_unknown(info->content_id));
}

/* What describes the data alone: behind where they begin. */
static const char *description(const char *identity)
{
  const char *colon = strchr(identity, ':');
  return colon ? colon : identity;
}

static qg_status compare(qg_trainer *t, const qg_log *log, const qg_ckpt_meta *saved)
{
  char mine[QG_DATA_IDENTITY];
  const qg_config *c = t->config;
  qg_data_identity(t, mine);
  t->data_begin = 0;
  if (!saved->data || strncmp(saved->data, beginning, strlen(beginning)) != 0) {
    qg_log_warn(
        log,
        "the checkpoint does not tell its data (version 0.1.0 did not): data.train is taken to be the same");
    return QG_OK;
  }
  if (strcmp(description(saved->data), description(mine)) == 0) {
    t->data_begin = strtoll(saved->data + strlen(beginning), NULL, 10);
    return QG_OK;
  }
  QG_CHECK(c->data.on_change == QG_DATA_CONTINUE, QG_ERR_INPUT,
           "data.train = %s holds other data than the checkpoint was trained on%s, there%s; set it back, or "
           "begin with "
           "the new data here with data.on_change=continue",
           c->data.train, description(mine), description(saved->data));
  t->data_begin = saved->cursor;
  qg_log_warn(log, "data.train = %s holds other data than before: they are read from their beginning",
              c->data.train);
  return QG_OK;
}

qg_status qg_data_identity_check(qg_trainer *t, const qg_log *log, const qg_ckpt_meta *saved)
{
  qg_status status = qg_par_is_root(qg_par_grid(t->par)) ? compare(t, log, saved) : QG_OK;
  QG_TRY(qg_par_agree(t->par, status));
  return qg_par_broadcast(t->par, &t->data_begin, sizeof t->data_begin, 0);
}
