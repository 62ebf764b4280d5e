/* What the attention of every backend shares: which keys a call reads, and which calls are refused. */
#ifndef QGALORE_BACKEND_ATTENTION_H
#define QGALORE_BACKEND_ATTENTION_H

#include "qgalore/backend.h"

/* Rows of k and v from one sequence to the next. */
static inline int64_t qg_attention_key_length(const qg_attention_args *a)
{
  return a->key_length > 0 ? a->key_length : a->sequence_length;
}

/* The keys of a sequence that one of its queries sees. */
static inline int64_t qg_attention_keys(const qg_attention_args *a)
{
  return a->position + a->sequence_length;
}

static inline bool qg_attention_has_more_keys(const qg_attention_args *a)
{
  return qg_attention_key_length(a) != a->sequence_length;
}

static inline int64_t qg_workload_key_length(const qg_workload *w)
{
  return w->key_length > 0 ? w->key_length : w->sequence_length;
}

static inline qg_status qg_attention_check(const qg_attention_args *a)
{
  int64_t key_length = qg_attention_key_length(a);
  QG_CHECK(a->kind == QG_ATTENTION_SOFTMAX, QG_ERR_INPUT, "attention of kind %d: this backend has softmax alone",
           (int)a->kind);
  QG_CHECK(a->position >= 0 && qg_attention_keys(a) <= key_length, QG_ERR_RUNTIME,
           "attention of %lld queries from position %lld on, among %lld keys", (long long)a->sequence_length,
           (long long)a->position, (long long)key_length);
  return QG_OK;
}

static inline qg_status qg_attention_check_backward(const qg_attention_args *a)
{
  QG_TRY(qg_attention_check(a));
  QG_CHECK(!qg_attention_has_more_keys(a), QG_ERR_RUNTIME,
           "backward of attention needs as many keys as queries, not %lld and %lld", (long long)a->key_length,
           (long long)a->sequence_length);
  return QG_OK;
}

#endif
