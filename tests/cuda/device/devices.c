/* Says which CUDA devices can be used; exit code 77 if none, with the reason. */
#include "support/fixtures/cuda_device.h"

int main(void)
{
  char devices[2048] = "";
  const qg_plugin *plugin;
  if (qg_plugin_find(true, &plugin) == QG_OK) plugin->list(devices, sizeof devices);
  if (devices[0]) fputs(devices, stdout);
  else
    puts(qg_error_message());
  return devices[0] ? 0 : 77;
}
