/* The optimizer as named state: what a checkpoint writes and reads. */
#include <stdio.h>
#include <string.h>

#include "optim/internal.h"

enum { MAX_PARAM_ENTRIES = 16 };

/* Appends one parameter's entries. The list is the same on every rank: only `data` and `owner` say who holds
 * what. */
typedef struct {
  const qg_optim *optim;
  qg_optim_param *param;
  qg_state_entry *next;
} entry_writer;

/* "model.layers.3.self_attn.q_proj.weight" -> "self_attn.q_proj": layers share a dataset. */
static void module_name(const qg_param *param, char *out, size_t size)
{
  const char *name = param->name;
  if (strncmp(name, "model.", 6) == 0) name += 6;
  if (param->layer >= 0) {
    name = strchr(name, '.') + 1; /* "layers." */
    name = strchr(name, '.') + 1; /* "3." */
  }
  size_t length = strlen(name);
  const char *suffix = ".weight";
  if (length > strlen(suffix) && strcmp(name + length - strlen(suffix), suffix) == 0)
    length -= strlen(suffix);
  snprintf(out, size, "%.*s", (int)length, name);
}

static void add(entry_writer *w, const char *group, const char *field, qg_dtype type, int64_t elements,
                void *data, bool on_device)
{
  const qg_optim_param *p = w->param;
  bool in_layer = p->info.layer >= 0;
  char module[sizeof p->info.name];
  module_name(&p->info, module, sizeof module);
  qg_state_entry entry = {
      .type = type,
      .items = in_layer ? w->optim->shape.num_layers : 1,
      .item = in_layer ? p->info.layer : 0,
      .elements = elements,
      .data = p->held ? data : NULL,
      .on_device = on_device,
      .owner = p->held && (w->optim->part.has_embedding || !qg_optim_is_tied(w->optim, p)),
  };
  snprintf(entry.dataset, sizeof entry.dataset, "%s/%s/%s", group, module, field);
  *w->next++ = entry;
}

static void add_weight(entry_writer *w)
{
  const qg_optim_param *p = w->param;
  int64_t elements = qg_optim_elements(p), groups = qg_group_count(elements);
  if (!p->policy.int8) {
    add(w, "weights", "values", p->policy.type, elements, p->values, true);
    return;
  }
  add(w, "weights", "codes", QG_U8, elements, p->codes.codes, true);
  add(w, "weights", "scale", QG_F32, groups, p->codes.scale, true);
  add(w, "weights", "zero", QG_U8, groups, p->codes.zero, true);
}

static void add_projector(entry_writer *w)
{
  const qg_optim_param *p = w->param;
  int64_t elements = qg_optim_basis_elements(p), groups = qg_group_count(elements);
  if (!p->policy.projected) return;
  if (!p->policy.int4) {
    add(w, "projector", "values", QG_F32, elements, p->basis, true);
    return;
  }
  add(w, "projector", "codes", QG_U4, elements, p->packed.codes, true);
  add(w, "projector", "scale", QG_F32, groups, p->packed.scale, true);
  add(w, "projector", "zero", QG_U8, groups, p->packed.zero, true);
}

static void add_moments(entry_writer *w)
{
  const qg_optim_param *p = w->param;
  int64_t elements = qg_optim_grad_elements(p), blocks = qg_optim_moment_blocks(w->optim, p);
  if (!p->policy.moments8) {
    add(w, "moments", "m", QG_F32, elements, p->moments.m, true);
    add(w, "moments", "v", QG_F32, elements, p->moments.v, true);
    return;
  }
  add(w, "moments", "m_codes", QG_U8, elements, p->moments.m_codes, true);
  add(w, "moments", "v_codes", QG_U8, elements, p->moments.v_codes, true);
  add(w, "moments", "m_absmax", QG_F32, blocks, p->moments.m_absmax, true);
  add(w, "moments", "v_absmax", QG_F32, blocks, p->moments.v_absmax, true);
}

static void add_tracker(entry_writer *w)
{
  qg_tracker *tracker = &w->param->tracker;
  if (!w->param->policy.projected) return;
  add(w, "tracker", "interval", QG_I64, 1, &tracker->interval, false);
  add(w, "tracker", "last_refresh", QG_I64, 1, &tracker->last_refresh, false);
  add(w, "tracker", "refreshes", QG_I64, 1, &tracker->refreshes, false);
  add(w, "tracker", "saved", QG_I64, 1, &tracker->saved, false);
  add(w, "tracker", "count", QG_I32, 1, &tracker->count, false);
  add(w, "tracker", "queue", QG_F32, QG_TRACKER_WINDOW_MAX, tracker->queue, false);
}

static qg_status list_entries(qg_optim *optim)
{
  void *memory;
  size_t most = (size_t)optim->param_count * MAX_PARAM_ENTRIES;
  QG_TRY(qg_calloc(most, sizeof(qg_state_entry), "the list of saved state", &memory));
  optim->entries = memory;
  entry_writer w = {.optim = optim, .next = optim->entries};
  for (int id = 0; id < optim->param_count; id++) {
    w.param = &optim->params[id];
    add_weight(&w);
    add_projector(&w);
    add_moments(&w);
    add_tracker(&w);
  }
  optim->entry_count = (int)(w.next - optim->entries);
  return QG_OK;
}

qg_status qg_optim_state(qg_optim *optim, const qg_state_entry **entries, int *count)
{
  if (!optim->entries) QG_TRY(list_entries(optim));
  *entries = optim->entries;
  *count = optim->entry_count;
  return QG_OK;
}

/* A checkpoint is somebody's file: its trackers must not lead outside an array or to a division by zero. */
static bool is_sound(const qg_tracker *tracker, int window)
{
  return tracker->interval >= 1 && tracker->last_refresh >= -1 && tracker->refreshes >= 0 &&
         tracker->saved >= 0 && tracker->count >= 0 && tracker->count <= window;
}

qg_status qg_optim_state_loaded(qg_optim *optim)
{
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held || !p->policy.projected) continue;
    QG_CHECK(is_sound(&p->tracker, QG_TRACKER_WINDOW_MAX), QG_ERR_CHECKPOINT,
             "the checkpoint's refresh tracker of %s makes no sense (interval %lld, %d similarities); use an "
             "older "
             "checkpoint",
             p->info.name, (long long)p->tracker.interval, (int)p->tracker.count);
  }
  return qg_optim_convert_vectors(optim);
}
