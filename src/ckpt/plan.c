#include "ckpt/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

static uint32_t checksum(const qg_ckpt_layout *layout)
{
  uint32_t crc = 0;
  for (int i = 0; i < layout->count; i++) {
    const qg_ckpt_dataset *d = &layout->datasets[i];
    int64_t shape[3] = {d->type, d->items, d->elements};
    crc = qg_crc32c(crc, d->name, strlen(d->name) + 1);
    crc = qg_crc32c(crc, shape, sizeof shape);
  }
  return crc;
}

static qg_status check_same_layout(qg_par *par, const qg_ckpt_layout *layout)
{
  double crc = checksum(layout), extremes[2] = {crc, -crc};
  QG_TRY(qg_par_max(par, extremes, 2));
  QG_CHECK(extremes[0] == -extremes[1], QG_ERR_CHECKPOINT,
           "the ranks disagree about the datasets of a checkpoint; this is a defect of the program");
  return QG_OK;
}

static qg_status own_names(qg_ckpt_plan *plan)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)plan->layout.count, sizeof *plan->names, "the names of a checkpoint", &memory));
  plan->names = memory;
  for (int i = 0; i < plan->layout.count; i++) {
    snprintf(plan->names[i], sizeof plan->names[i], "%s", plan->layout.datasets[i].name);
    plan->layout.datasets[i].name = plan->names[i];
  }
  return QG_OK;
}

static qg_status number_items(qg_ckpt_plan *plan, int ranks)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)plan->layout.count, sizeof *plan->places, "the plan of a checkpoint", &memory));
  plan->places = memory;
  for (int i = 0; i < plan->layout.count; i++) {
    const qg_ckpt_dataset *d = &plan->layout.datasets[i];
    int64_t slabs = qg_ckpt_slab_count(d->elements, d->element_bytes, plan->slab_bytes);
    plan->places[i] = (qg_ckpt_place){plan->items, plan->sums, slabs, 0};
    plan->items += d->items;
    plan->sums += d->items * slabs;
  }
  QG_TRY(qg_calloc((size_t)plan->items, sizeof *plan->owners, "the owners of a checkpoint", &memory));
  plan->owners = memory;
  QG_TRY(qg_calloc((size_t)plan->items, sizeof *plan->offsets, "the plan of a checkpoint", &memory));
  plan->offsets = memory;
  QG_TRY(qg_calloc((size_t)ranks, sizeof *plan->bytes, "the plan of a checkpoint", &memory));
  plan->bytes = memory;
  return QG_OK;
}

static int find_dataset(const qg_ckpt_layout *layout, const char *name)
{
  int i = 0;
  while (strcmp(layout->datasets[i].name, name) != 0) i++;
  return i;
}

/* What ranks say of one item, summed over ranks: how many write it, and the number of the one that does. */
typedef struct {
  double writers, rank;
} claim;

static qg_status claim_mine(const qg_ckpt_plan *plan, const qg_state_entry *entries, int count, int rank,
                            claim *claims)
{
  for (int i = 0; i < count; i++) {
    const qg_state_entry *e = &entries[i];
    if (!e->owner) continue;
    QG_CHECK(e->data, QG_ERR_CHECKPOINT, "the state \"%s\", item %lld, has an owner without data", e->dataset,
             (long long)e->item);
    claim *c = &claims[plan->places[find_dataset(&plan->layout, e->dataset)].first_item + e->item];
    c->writers += 1;
    c->rank += rank;
  }
  return QG_OK;
}

/* What a rank writes lies one behind the other in its own file. */
static void take_item(qg_ckpt_plan *plan, int64_t number, int32_t owner, int64_t bytes)
{
  plan->owners[number] = owner;
  plan->offsets[number] = plan->bytes[owner];
  plan->bytes[owner] += bytes;
}

static qg_status take_owners(qg_ckpt_plan *plan, const claim *claims)
{
  for (int d = 0; d < plan->layout.count; d++)
    for (int64_t i = 0; i < plan->layout.datasets[d].items; i++) {
      int64_t number = plan->places[d].first_item + i;
      QG_CHECK(claims[number].writers == 1, QG_ERR_CHECKPOINT,
               "the state \"%s\", item %lld, is written by %g ranks instead of one",
               plan->layout.datasets[d].name, (long long)i, claims[number].writers);
      take_item(plan, number, (int32_t)claims[number].rank,
                (int64_t)qg_ckpt_item_bytes(&plan->layout.datasets[d]));
    }
  return QG_OK;
}

static qg_status find_owners(qg_par *par, qg_ckpt_plan *plan, const qg_state_entry *entries, int count)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  int values = 0, rank = qg_par_grid(par)->rank;
  QG_TRY_OUT(qg_narrow_int(2 * plan->items, "the number of items of a checkpoint", &values));
  QG_TRY_OUT(qg_par_agree(
      par, qg_calloc((size_t)plan->items, sizeof(claim), "the owners of a checkpoint", &memory)));
  QG_TRY_OUT(qg_par_agree(par, claim_mine(plan, entries, count, rank, memory)));
  QG_TRY_OUT(qg_par_sum(par, memory, values));
  QG_TRY_OUT(take_owners(plan, memory));
out:
  free(memory);
  return status;
}

qg_status qg_ckpt_plan_make(qg_par *par, const qg_state_entry *entries, int count, qg_ckpt_files files,
                            size_t slab_bytes, qg_ckpt_plan *out)
{
  *out = (qg_ckpt_plan){.files = files, .slab_bytes = slab_bytes};
  QG_TRY(qg_par_agree(par, qg_ckpt_layout_make(entries, count, &out->layout)));
  QG_TRY(check_same_layout(par, &out->layout));
  QG_TRY(qg_par_agree(par, own_names(out)));
  QG_TRY(qg_par_agree(par, number_items(out, qg_par_grid(par)->size)));
  return find_owners(par, out, entries, count);
}

void qg_ckpt_plan_free(qg_ckpt_plan *plan)
{
  free(plan->bytes);
  free(plan->offsets);
  free(plan->owners);
  free(plan->places);
  free(plan->names);
  qg_ckpt_layout_free(&plan->layout);
  *plan = (qg_ckpt_plan){0};
}

void qg_ckpt_plan_place(qg_ckpt_plan *plan)
{
  for (int d = 0; d < plan->layout.count; d++) {
    const qg_ckpt_place *place = &plan->places[d];
    int64_t bytes = (int64_t)qg_ckpt_item_bytes(&plan->layout.datasets[d]);
    for (int64_t i = 0; i < plan->layout.datasets[d].items; i++)
      plan->offsets[place->first_item + i] = place->address + i * bytes;
  }
}

static int by_place(const void *a, const void *b)
{
  const qg_ckpt_piece *x = a, *y = b;
  if (x->dataset != y->dataset) return x->dataset - y->dataset;
  return (x->item > y->item) - (x->item < y->item);
}

qg_status qg_ckpt_pieces_make(const qg_ckpt_plan *plan, const qg_backend *be, const qg_state_entry *entries,
                              int count, qg_ckpt_piece **out, int64_t *pieces)
{
  void *memory;
  *pieces = 0;
  QG_TRY(qg_calloc((size_t)count, sizeof **out, "the items of a checkpoint", &memory));
  *out = memory;
  for (int i = 0; i < count; i++) {
    const qg_state_entry *e = &entries[i];
    if (!e->owner) continue;
    (*out)[(*pieces)++] = (qg_ckpt_piece){.data = e->data,
                                          .on_device = e->on_device && !be->ops->unified_memory,
                                          .dataset = find_dataset(&plan->layout, e->dataset),
                                          .item = e->item};
  }
  qsort(*out, (size_t)*pieces, sizeof **out, by_place);
  return QG_OK;
}
