/* A call that has to succeed: else the test fails with its message and trace. After cmocka.h. */
#ifndef QG_TESTS_ASSERT_OK_H
#define QG_TESTS_ASSERT_OK_H

#include "qgalore/base/status.h"

#define assert_ok(call)                                                                              \
  do {                                                                                               \
    if ((call) != QG_OK) fail_msg("%s failed: %s\n%s", #call, qg_error_message(), qg_error_trace()); \
  } while (0)

#endif
