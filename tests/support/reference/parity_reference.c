#include "support/reference/parity_reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* cmocka wants headers from above first. */
#include <cmocka.h>

json_t *parity_load(const char *test_source)
{
  char path[4096];
  const char *slash = strrchr(test_source, '/');
  int folder = slash ? (int)(slash - test_source) : 0;
  snprintf(path, sizeof path, "%.*s%sreference.json", folder, test_source, slash ? "/" : "");
  json_error_t error;
  json_t *reference = json_load_file(path, 0, &error);
  if (!reference) fail_msg("%s: %s (run the tests from the top folder)", path, error.text);
  return reference;
}

void parity_bytes(const json_t *object, const char *key, void *out, size_t bytes)
{
  const json_t *member = json_object_get(object, key);
  const char *hex = json_string_value(member);
  assert_non_null(hex);
  assert_int_equal(json_string_length(member), 2 * bytes);
  for (size_t i = 0; i < bytes; i++) {
    unsigned value;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
    ((uint8_t *)out)[i] = (uint8_t)value;
  }
}
