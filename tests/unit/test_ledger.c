/* Promises of the memory ledger: dry and live runs count the same, and a refusal tells who holds what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/memory.h"

/* A backend that hands out host memory up to a limit and knows what is still out. */
typedef struct {
  size_t limit, device_bytes, host_bytes;
  int device_calls, device_releases;
  bool cannot_clear;
  void *workspace;
  size_t workspace_bytes;
} fake;

static qg_status take(fake *f, size_t *held, size_t bytes, void **out)
{
  QG_CHECK(f->device_bytes + f->host_bytes + bytes <= f->limit, QG_ERR_RESOURCE, "the fake device is full");
  *out = aligned_alloc(64, (bytes + 63) / 64 * 64);
  QG_CHECK(*out, QG_ERR_RESOURCE, "no memory");
  memset(*out, 0, bytes);
  *held += bytes;
  return QG_OK;
}

static qg_status fake_alloc(qg_backend *be, size_t bytes, void **out)
{
  fake *f = be->impl;
  f->device_calls++;
  return take(f, &f->device_bytes, bytes, out);
}

static qg_status fake_alloc_host(qg_backend *be, size_t bytes, void **out)
{
  fake *f = be->impl;
  return take(f, &f->host_bytes, bytes, out);
}

static void fake_release(qg_backend *be, void *memory, size_t bytes)
{
  fake *f = be->impl;
  f->device_bytes -= bytes;
  f->device_releases++;
  free(memory);
}

static void fake_release_host(qg_backend *be, void *memory, size_t bytes)
{
  ((fake *)be->impl)->host_bytes -= bytes;
  free(memory);
}

static qg_status fake_zero(qg_backend *be, void *memory, size_t bytes)
{
  QG_CHECK(!((fake *)be->impl)->cannot_clear, QG_ERR_RESOURCE, "the fake device is lost");
  memset(memory, 0, bytes);
  return QG_OK;
}

static qg_status fake_memory_info(qg_backend *be, size_t *free, size_t *total)
{
  fake *f = be->impl;
  *total = f->limit;
  *free = f->limit - f->device_bytes;
  return QG_OK;
}

static size_t fake_workspace_bytes(qg_backend *be, const qg_workload *workload)
{
  (void)be;
  return (size_t)workload->tokens * 100;
}

static void fake_set_workspace(qg_backend *be, void *memory, size_t bytes)
{
  fake *f = be->impl;
  f->workspace = memory;
  f->workspace_bytes = bytes;
}

static const qg_backend_ops fake_ops = {
    .name = "fake",
    .alloc = fake_alloc,
    .release = fake_release,
    .alloc_host = fake_alloc_host,
    .release_host = fake_release_host,
    .zero = fake_zero,
    .memory_info = fake_memory_info,
    .workspace_bytes = fake_workspace_bytes,
    .set_workspace = fake_set_workspace,
};

static qg_backend open_fake(fake *f, size_t limit)
{
  *f = (fake){.limit = limit};
  return (qg_backend){.ops = &fake_ops, .impl = f};
}

/* What a module's creator does; runs against dry and live ledgers alike. */
static void create_something(qg_mem *mem, qg_backend *be, qg_view *weights, void **host)
{
  qg_workload workload = {.tokens = 8};
  assert_int_equal(qg_mem_view(mem, QG_OWNER_WEIGHTS, "q_proj", QG_F32, 16, 32, weights), QG_OK);
  assert_int_equal(qg_mem_alloc_host(mem, QG_OWNER_TRANSFER, "a message", 300, host), QG_OK);
  assert_int_equal(qg_backend_reserve(mem, be, &workload), QG_OK);
  qg_mem_note(mem, QG_OWNER_RUNTIME, 1000);
}

static void check_counts(const qg_mem *mem)
{
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_WEIGHTS), 16 * 32 * 4);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_TRANSFER), 300);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_WORKSPACE), 800);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_RUNTIME), 1000);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_MOMENTS), 0);
  assert_int_equal(qg_mem_total(mem), 16 * 32 * 4 + 300 + 800 + 1000);
  assert_int_equal(qg_mem_allocations(mem), 3);
}

static void a_dry_ledger_counts_and_takes_nothing(void **state)
{
  (void)state;
  fake f;
  qg_backend be = open_fake(&f, 0);
  qg_mem *mem;
  qg_view weights;
  void *host;
  assert_int_equal(qg_mem_create(NULL, &mem), QG_OK);
  assert_true(qg_mem_is_dry(mem));
  create_something(mem, &be, &weights, &host);
  check_counts(mem);
  assert_null(weights.data);
  assert_null(host);
  assert_null(f.workspace);
  assert_int_equal(weights.rows, 16);
  assert_int_equal(weights.stride, 32);
  qg_mem_destroy(mem);
}

static void a_live_ledger_counts_the_same_and_gives_everything_back(void **state)
{
  (void)state;
  fake f;
  qg_backend be = open_fake(&f, 1 << 20);
  qg_mem *mem;
  qg_view weights;
  void *host;
  assert_int_equal(qg_mem_create(&be, &mem), QG_OK);
  assert_false(qg_mem_is_dry(mem));
  create_something(mem, &be, &weights, &host);
  check_counts(mem);
  assert_non_null(weights.data);
  assert_int_equal((uintptr_t)weights.data % 64, 0);
  assert_non_null(host);
  assert_non_null(f.workspace);
  assert_int_equal(f.workspace_bytes, 800);
  assert_int_equal(f.device_bytes, 16 * 32 * 4 + 800);
  assert_int_equal(f.host_bytes, 300);
  qg_mem_destroy(mem);
  assert_int_equal(f.device_bytes, 0);
  assert_int_equal(f.host_bytes, 0);
}

static void a_refusal_names_the_request_and_the_three_largest_owners(void **state)
{
  (void)state;
  fake f;
  qg_backend be = open_fake(&f, 10000);
  qg_mem *mem;
  void *memory;
  assert_int_equal(qg_mem_create(&be, &mem), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_DATA, "tokens", 100, &memory), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_MOMENTS, "Adam", 2048, &memory), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_WEIGHTS, "codes", 4096, &memory), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, "R", 3072, &memory), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_ACTIVATIONS, "saved inputs", 5000, &memory), QG_ERR_RESOURCE);
  assert_null(memory);
  const char *message = qg_error_message();
  assert_non_null(strstr(message, "saved inputs (activations): 5000 bytes (4.88 KiB)"));
  assert_non_null(strstr(message, "weights 4.00 KiB, gradients 3.00 KiB, moments 2.00 KiB"));
  assert_non_null(strstr(message, "the fake device is full"));
  assert_null(strstr(message, "data 100 B"));
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_ACTIVATIONS), 0);
  qg_mem_destroy(mem);
  assert_int_equal(f.device_bytes, 0);
}

/* A ledger of the fake device, with memory reserved for what create_something takes; returns what that said.
 */
static qg_status reserve_for_something(fake *f, qg_backend *be, size_t limit, size_t margin, qg_mem **mem)
{
  qg_mem *plan;
  qg_view weights;
  void *host;
  *be = open_fake(f, limit);
  be->share.margin = margin;
  assert_int_equal(qg_mem_create(NULL, &plan), QG_OK);
  create_something(plan, be, &weights, &host);
  assert_int_equal(qg_mem_create(be, mem), QG_OK);
  qg_status status = qg_mem_reserve(*mem, plan);
  qg_mem_destroy(plan);
  return status;
}

/* 2048 bytes of weights and 800 of workspace, in whole pieces. */
enum { RESERVED = 2048 + 4 * 256 };

static void a_reservation_is_one_allocation_that_holds_everything(void **state)
{
  (void)state;
  fake f;
  qg_backend be;
  qg_mem *mem;
  qg_view weights;
  void *host, *more;
  assert_int_equal(reserve_for_something(&f, &be, 1 << 20, 0, &mem), QG_OK);
  assert_int_equal(f.device_bytes, RESERVED);
  create_something(mem, &be, &weights, &host);
  check_counts(mem);
  assert_int_equal(f.device_calls, 1);
  assert_int_equal(f.device_bytes, RESERVED);
  assert_int_equal(f.host_bytes, 300);
  assert_int_equal((char *)f.workspace - (char *)weights.data, 2048);
  assert_int_equal(qg_mem_space(mem, QG_SPACE_DEVICE), RESERVED);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_DATA, "an afterthought", 1, &more), QG_ERR_RUNTIME);
  assert_null(more);
  assert_non_null(strstr(qg_error_message(), "an afterthought: 1 bytes are not in the plan"));
  qg_mem_destroy(mem);
  assert_int_equal(f.device_bytes, 0);
}

static void a_plan_that_does_not_fit_is_refused_whole(void **state)
{
  (void)state;
  fake f;
  qg_backend be;
  qg_mem *mem;
  assert_int_equal(reserve_for_something(&f, &be, RESERVED + 100, 101, &mem), QG_ERR_RESOURCE);
  assert_int_equal(f.device_calls, 0);
  assert_non_null(strstr(qg_error_message(), "the plan of 3.00 KiB does not fit"));
  assert_non_null(strstr(qg_error_message(), "3.10 KiB of 3.10 KiB are free, and 101 B have to stay so"));
  assert_non_null(strstr(qg_error_message(), "Largest: weights 2.00 KiB, workspace 800 B."));
  qg_mem_destroy(mem);
  assert_int_equal(reserve_for_something(&f, &be, RESERVED + 100, 100, &mem), QG_OK);
  qg_mem_destroy(mem);
}

/* --- what is given back --- */

static void a_dry_ledger_counts_down(void **state)
{
  (void)state;
  qg_mem *mem;
  void *memory;
  assert_int_equal(qg_mem_create(NULL, &mem), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_MOMENTS, "m", 300, &memory), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, "R", 1000, &memory), QG_OK);
  assert_int_equal(qg_mem_space(mem, QG_SPACE_DEVICE), 512 + 1024);
  qg_mem_free(mem, QG_OWNER_MOMENTS, 300, NULL);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_MOMENTS), 0);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_GRADIENTS), 1000);
  assert_int_equal(qg_mem_total(mem), 1000);
  assert_int_equal(qg_mem_space(mem, QG_SPACE_DEVICE), 1024);
  qg_mem_free(mem, QG_OWNER_GRADIENTS, 0, NULL);
  assert_int_equal(qg_mem_total(mem), 1000);
  qg_mem_destroy(mem);
}

static void a_live_ledger_gives_back_to_the_backend_once(void **state)
{
  (void)state;
  fake f;
  qg_backend be = open_fake(&f, 1 << 20);
  qg_mem *mem;
  void *first, *second, *third;
  assert_int_equal(qg_mem_create(&be, &mem), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_MOMENTS, "m", 300, &first), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_MOMENTS, "v", 300, &second), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, "R", 1000, &third), QG_OK);
  qg_mem_free(mem, QG_OWNER_MOMENTS, 300, second);
  assert_int_equal(f.device_releases, 1);
  assert_int_equal(f.device_bytes, 1300);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_MOMENTS), 300);
  assert_int_equal(qg_mem_bytes_in(mem, QG_SPACE_DEVICE, QG_OWNER_MOMENTS), 300);
  assert_int_equal(qg_mem_total(mem), 1300);
  assert_int_equal(qg_mem_space(mem, QG_SPACE_DEVICE), 512 + 1024);
  memset(first, 1, 300);
  memset(third, 1, 1000);
  qg_mem_destroy(mem);
  assert_int_equal(f.device_releases, 3);
  assert_int_equal(f.device_bytes, 0);
}

static void giving_nothing_back_is_fine(void **state)
{
  (void)state;
  fake f;
  qg_backend be = open_fake(&f, 1 << 20);
  qg_mem *mem;
  void *memory;
  assert_int_equal(qg_mem_create(&be, &mem), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_DATA, "tokens", 100, &memory), QG_OK);
  qg_mem_free(mem, QG_OWNER_DATA, 100, NULL);
  qg_mem_free(mem, QG_OWNER_DATA, 0, memory);
  qg_mem_free(mem, QG_OWNER_DATA, 0, NULL);
  assert_int_equal(f.device_releases, 0);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_DATA), 100);
  qg_mem_destroy(mem);
  assert_int_equal(f.device_bytes, 0);
}

/* What two requests of 500 bytes and one of 1000 get of a reservation for them: nothing is left of it. */
typedef struct {
  fake f;
  qg_backend be;
  qg_mem *mem;
  void *moments[2], *gradient;
} reservation;

static void take_three(qg_mem *mem, void **moments, void **gradient)
{
  for (int i = 0; i < 2; i++)
    assert_int_equal(qg_mem_alloc(mem, QG_OWNER_MOMENTS, "m", 500, &moments[i]), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, "R", 1000, gradient), QG_OK);
}

static void open_reservation(reservation *r)
{
  qg_mem *plan;
  *r = (reservation){0};
  r->be = open_fake(&r->f, 1 << 20);
  assert_int_equal(qg_mem_create(NULL, &plan), QG_OK);
  take_three(plan, r->moments, &r->gradient);
  assert_int_equal(qg_mem_create(&r->be, &r->mem), QG_OK);
  assert_int_equal(qg_mem_reserve(r->mem, plan), QG_OK);
  qg_mem_destroy(plan);
  take_three(r->mem, r->moments, &r->gradient);
}

static void close_reservation(reservation *r)
{
  qg_mem_destroy(r->mem);
  assert_int_equal(r->f.device_calls, 1);
  assert_int_equal(r->f.device_releases, 1);
  assert_int_equal(r->f.device_bytes, 0);
}

static bool is_zero(const char *memory, size_t bytes)
{
  for (size_t i = 0; i < bytes; i++)
    if (memory[i]) return false;
  return true;
}

static void a_reserved_piece_serves_the_next_request_of_its_size(void **state)
{
  (void)state;
  reservation r;
  void *again;
  open_reservation(&r);
  memset(r.moments[0], 1, 512);
  qg_mem_free(r.mem, QG_OWNER_MOMENTS, 500, r.moments[0]);
  assert_int_equal(r.f.device_releases, 0);
  assert_int_equal(qg_mem_bytes(r.mem, QG_OWNER_MOMENTS), 500);
  assert_int_equal(qg_mem_space(r.mem, QG_SPACE_DEVICE), 512 + 1024);
  assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_PROJECTORS, "P", 400, &again), QG_OK);
  assert_ptr_equal(again, r.moments[0]);
  assert_true(is_zero(again, 512));
  assert_int_equal(qg_mem_bytes(r.mem, QG_OWNER_PROJECTORS), 400);
  assert_int_equal(qg_mem_space(r.mem, QG_SPACE_DEVICE), 512 + 512 + 1024);
  close_reservation(&r);
}

static void a_request_of_another_size_does_not_take_it(void **state)
{
  (void)state;
  reservation r;
  void *other, *again;
  open_reservation(&r);
  qg_mem_free(r.mem, QG_OWNER_GRADIENTS, 1000, r.gradient);
  assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_MOMENTS, "smaller", 500, &other), QG_ERR_RUNTIME);
  assert_null(other);
  assert_non_null(strstr(qg_error_message(), "smaller: 500 bytes are not in the plan"));
  assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_MOMENTS, "larger", 1025, &other), QG_ERR_RUNTIME);
  assert_int_equal(qg_mem_bytes(r.mem, QG_OWNER_MOMENTS), 1000);
  assert_int_equal(qg_mem_space(r.mem, QG_SPACE_DEVICE), 512 + 512);
  assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_GRADIENTS, "R", 1000, &again), QG_OK);
  assert_ptr_equal(again, r.gradient);
  close_reservation(&r);
}

/* Each piece is handed out once. */
static void pieces_of_one_size_do_not_mix(void **state)
{
  (void)state;
  reservation r;
  void *again[3];
  open_reservation(&r);
  for (int i = 0; i < 2; i++) qg_mem_free(r.mem, QG_OWNER_MOMENTS, 500, r.moments[i]);
  for (int i = 0; i < 2; i++)
    assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_MOMENTS, "m", 500, &again[i]), QG_OK);
  assert_ptr_not_equal(again[0], again[1]);
  for (int i = 0; i < 2; i++) assert_true(again[i] == r.moments[0] || again[i] == r.moments[1]);
  assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_MOMENTS, "m", 500, &again[2]), QG_ERR_RUNTIME);
  close_reservation(&r);
}

static void a_piece_that_cannot_be_cleared_is_not_lost(void **state)
{
  (void)state;
  reservation r;
  void *again = &r;
  open_reservation(&r);
  qg_mem_free(r.mem, QG_OWNER_GRADIENTS, 1000, r.gradient);
  r.f.cannot_clear = true;
  assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_GRADIENTS, "R", 1000, &again), QG_ERR_RESOURCE);
  assert_null(again);
  assert_int_equal(qg_mem_bytes(r.mem, QG_OWNER_GRADIENTS), 0);
  r.f.cannot_clear = false;
  assert_int_equal(qg_mem_alloc(r.mem, QG_OWNER_GRADIENTS, "R", 1000, &again), QG_OK);
  assert_ptr_equal(again, r.gradient);
  close_reservation(&r);
}

static void what_a_backend_takes_beside_the_ledger_is_named(void **state)
{
  (void)state;
  qg_mem *mem;
  const qg_device_share share = {.held = 10, .allowance = 500, .margin = 50};
  assert_int_equal(qg_mem_create(NULL, &mem), QG_OK);
  qg_mem_note_device(mem, &share);
  assert_int_equal(qg_mem_bytes(mem, QG_OWNER_CONTEXT), 510);
  assert_int_equal(qg_mem_space(mem, QG_SPACE_DEVICE), 510);
  assert_int_equal(qg_mem_space(mem, QG_SPACE_HOST), 0);
  qg_mem_destroy(mem);
}

static void nothing_and_nonsense(void **state)
{
  (void)state;
  fake f;
  qg_backend be = open_fake(&f, 1000);
  qg_mem *mem;
  qg_view view;
  void *memory = &f;
  qg_mem_destroy(NULL);
  assert_int_equal(qg_mem_create(&be, &mem), QG_OK);
  assert_int_equal(qg_mem_alloc(mem, QG_OWNER_DATA, "nothing", 0, &memory), QG_OK);
  assert_null(memory);
  assert_int_equal(qg_mem_view(mem, QG_OWNER_DATA, "huge", QG_F64, INT64_MAX / 8, 2, &view), QG_ERR_RESOURCE);
  assert_int_equal(qg_mem_view(mem, QG_OWNER_DATA, "negative", QG_F64, -1, 2, &view), QG_ERR_RESOURCE);
  qg_mem_destroy(mem);
}

static void every_owner_has_its_own_name(void **state)
{
  (void)state;
  for (int i = 0; i < QG_OWNER_COUNT; i++) {
    assert_non_null(qg_owner_name((qg_owner)i));
    for (int j = 0; j < i; j++)
      assert_string_not_equal(qg_owner_name((qg_owner)i), qg_owner_name((qg_owner)j));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_dry_ledger_counts_and_takes_nothing),
      cmocka_unit_test(a_live_ledger_counts_the_same_and_gives_everything_back),
      cmocka_unit_test(a_refusal_names_the_request_and_the_three_largest_owners),
      cmocka_unit_test(a_reservation_is_one_allocation_that_holds_everything),
      cmocka_unit_test(a_plan_that_does_not_fit_is_refused_whole),
      cmocka_unit_test(a_dry_ledger_counts_down),
      cmocka_unit_test(a_live_ledger_gives_back_to_the_backend_once),
      cmocka_unit_test(giving_nothing_back_is_fine),
      cmocka_unit_test(a_reserved_piece_serves_the_next_request_of_its_size),
      cmocka_unit_test(a_request_of_another_size_does_not_take_it),
      cmocka_unit_test(pieces_of_one_size_do_not_mix),
      cmocka_unit_test(a_piece_that_cannot_be_cleared_is_not_lost),
      cmocka_unit_test(what_a_backend_takes_beside_the_ledger_is_named),
      cmocka_unit_test(nothing_and_nonsense),
      cmocka_unit_test(every_owner_has_its_own_name),
  };
  return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
