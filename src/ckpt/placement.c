#include "ckpt/placement.h"

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

/* The entries, which hold the names, may be gone before a save in the background ends. */
static qg_status own_names(qg_ckpt_placement *p)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)p->layout.count, sizeof *p->names, "the names of a checkpoint", &memory));
  p->names = memory;
  for (int i = 0; i < p->layout.count; i++) {
    snprintf(p->names[i], sizeof p->names[i], "%s", p->layout.datasets[i].name);
    p->layout.datasets[i].name = p->names[i];
  }
  return QG_OK;
}

static qg_status number_items(qg_ckpt_placement *p, int ranks)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)p->layout.count, sizeof *p->offsets, "the offsets of a checkpoint", &memory));
  p->offsets = memory;
  for (int i = 0; i < p->layout.count; i++) {
    const qg_ckpt_dataset *d = &p->layout.datasets[i];
    int64_t blocks = qg_ckpt_block_count(d->elements, d->element_bytes, p->block_bytes);
    p->offsets[i] = (qg_ckpt_dataset_offsets){p->items, p->sums, blocks, 0};
    p->items += d->items;
    p->sums += d->items * blocks;
  }
  QG_TRY(qg_calloc((size_t)p->items, sizeof *p->item_owners, "the owners of a checkpoint", &memory));
  p->item_owners = memory;
  QG_TRY(qg_calloc((size_t)p->items, sizeof *p->item_offsets, "the offsets of a checkpoint", &memory));
  p->item_offsets = memory;
  QG_TRY(qg_calloc((size_t)ranks, sizeof *p->rank_bytes, "the offsets of a checkpoint", &memory));
  p->rank_bytes = memory;
  return QG_OK;
}

int qg_ckpt_placement_find(const qg_ckpt_placement *p, const char *name)
{
  int i = 0;
  while (strcmp(p->layout.datasets[i].name, name) != 0) i++;
  return i;
}

/* What ranks say of one item, summed over ranks: how many write it, and the number of the one that does. */
typedef struct {
  double writers, rank;
} claim;

static qg_status claim_local(const qg_ckpt_placement *p, const qg_state_entry *entries, int count, int rank,
                             claim *claims)
{
  for (int i = 0; i < count; i++) {
    const qg_state_entry *e = &entries[i];
    if (!e->owner) continue;
    QG_CHECK(e->data, QG_ERR_CHECKPOINT, "the state \"%s\", item %lld, has an owner without data", e->dataset,
             (long long)e->item);
    claim *c = &claims[p->offsets[qg_ckpt_placement_find(p, e->dataset)].first_item + e->item];
    c->writers += 1;
    c->rank += rank;
  }
  return QG_OK;
}

/* What a rank writes lies one behind the other in its own file. */
static void take_item(qg_ckpt_placement *p, int64_t number, int32_t owner, int64_t bytes)
{
  p->item_owners[number] = owner;
  p->item_offsets[number] = p->rank_bytes[owner];
  p->rank_bytes[owner] += bytes;
}

static qg_status take_owners(qg_ckpt_placement *p, const claim *claims)
{
  for (int d = 0; d < p->layout.count; d++)
    for (int64_t i = 0; i < p->layout.datasets[d].items; i++) {
      int64_t number = p->offsets[d].first_item + i;
      QG_CHECK(claims[number].writers == 1, QG_ERR_CHECKPOINT,
               "the state \"%s\", item %lld, is written by %g ranks instead of one",
               p->layout.datasets[d].name, (long long)i, claims[number].writers);
      take_item(p, number, (int32_t)claims[number].rank, (int64_t)qg_ckpt_item_bytes(&p->layout.datasets[d]));
    }
  return QG_OK;
}

static qg_status find_owners(qg_par *par, qg_ckpt_placement *p, const qg_state_entry *entries, int count)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  int values = 0, rank = qg_par_grid(par)->rank;
  QG_TRY_OUT(qg_narrow_int(2 * p->items, "the number of items of a checkpoint", &values));
  QG_TRY_OUT(
      qg_par_agree(par, qg_calloc((size_t)p->items, sizeof(claim), "the owners of a checkpoint", &memory)));
  QG_TRY_OUT(qg_par_agree(par, claim_local(p, entries, count, rank, memory)));
  QG_TRY_OUT(qg_par_sum(par, memory, values));
  QG_TRY_OUT(take_owners(p, memory));
out:
  free(memory);
  return status;
}

qg_status qg_ckpt_placement_make(qg_par *par, const qg_state_entry *entries, int count, qg_ckpt_files files,
                                 size_t block_bytes, qg_ckpt_placement *out)
{
  *out = (qg_ckpt_placement){.files = files, .block_bytes = block_bytes};
  QG_TRY(qg_par_agree(par, qg_ckpt_layout_make(entries, count, &out->layout)));
  QG_TRY(check_same_layout(par, &out->layout));
  QG_TRY(qg_par_agree(par, own_names(out)));
  QG_TRY(qg_par_agree(par, number_items(out, qg_par_grid(par)->size)));
  return find_owners(par, out, entries, count);
}

void qg_ckpt_placement_free(qg_ckpt_placement *p)
{
  free(p->rank_bytes);
  free(p->item_offsets);
  free(p->item_owners);
  free(p->offsets);
  free(p->names);
  qg_ckpt_layout_free(&p->layout);
  *p = (qg_ckpt_placement){0};
}

void qg_ckpt_placement_set_addresses(qg_ckpt_placement *p)
{
  for (int d = 0; d < p->layout.count; d++) {
    const qg_ckpt_dataset_offsets *o = &p->offsets[d];
    int64_t bytes = (int64_t)qg_ckpt_item_bytes(&p->layout.datasets[d]);
    for (int64_t i = 0; i < p->layout.datasets[d].items; i++)
      p->item_offsets[o->first_item + i] = o->address + i * bytes;
  }
}
