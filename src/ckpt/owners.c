/* Before anything is written: does what the ranks offer make one whole state? */
#include <stdlib.h>
#include <string.h>

#include "ckpt/writer.h"
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

/* owners[i] += 1 for the items of a dataset that this rank writes. */
static qg_status count_owned(const qg_ckpt_dataset *d, const qg_state_entry *entries, int count,
                             double *owners)
{
  for (int i = 0; i < count; i++) {
    if (!entries[i].owner || strcmp(entries[i].dataset, d->name) != 0) continue;
    QG_CHECK(entries[i].data, QG_ERR_CHECKPOINT, "the state \"%s\", item %lld, has an owner without data",
             d->name, (long long)entries[i].item);
    owners[entries[i].item] += 1;
  }
  return QG_OK;
}

static qg_status check_items(qg_par *par, const qg_ckpt_dataset *d, const qg_state_entry *entries, int count)
{
  void *memory = NULL;
  int items = 0;
  QG_TRY(qg_narrow_int(d->items, "the number of items of a dataset", &items));
  QG_TRY(qg_par_agree(par, qg_calloc((size_t)items, sizeof(double), "the owners of a dataset", &memory)));
  double *owners = memory;
  qg_status status = QG_OK;
  QG_TRY_OUT(qg_par_agree(par, count_owned(d, entries, count, owners)));
  QG_TRY_OUT(qg_par_sum(par, owners, items));
  for (int i = 0; i < items; i++)
    QG_CHECK_OUT(owners[i] == 1, QG_ERR_CHECKPOINT,
                 "the state \"%s\", item %d, is written by %g ranks instead of one", d->name, i, owners[i]);
out:
  free(memory);
  return status;
}

qg_status qg_ckpt_check_owners(qg_par *par, const qg_ckpt_layout *layout, const qg_state_entry *entries,
                               int count)
{
  QG_TRY(check_same_layout(par, layout));
  for (int i = 0; i < layout->count; i++) QG_TRY(check_items(par, &layout->datasets[i], entries, count));
  return QG_OK;
}
