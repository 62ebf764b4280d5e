#include "tools/spm_shim.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

struct qg_spm {
  sentencepiece::SentencePieceProcessor processor;
  std::vector<int> ids;
};

static_assert(std::is_same<int, int32_t>::value, "SentencePiece gives ids as int");

/* No exception may reach the C side. */
template <typename Call>
static qg_status guarded(const char *what, Call call)
{
  try {
    return call();
  } catch (const std::exception &error) {
    return QG_FAIL(QG_ERR_RESOURCE, "SentencePiece failed while %s: %s", what, error.what());
  }
}

qg_status qg_spm_load(const char *path, qg_spm **out)
{
  *out = nullptr;
  return guarded("loading the model", [&]() -> qg_status {
    auto spm = std::make_unique<qg_spm>();
    const auto status = spm->processor.Load(path);
    QG_CHECK(status.ok(), QG_ERR_INPUT, "%s: not a SentencePiece model (%s): make one with spm_train", path,
             status.ToString().c_str());
    *out = spm.release();
    return QG_OK;
  });
}

void qg_spm_free(qg_spm *spm)
{
  delete spm;
}

int32_t qg_spm_pieces(const qg_spm *spm)
{
  return spm->processor.GetPieceSize();
}

int32_t qg_spm_bos(const qg_spm *spm)
{
  return spm->processor.bos_id();
}

int32_t qg_spm_eos(const qg_spm *spm)
{
  return spm->processor.eos_id();
}

int32_t qg_spm_unknown(const qg_spm *spm)
{
  return spm->processor.unk_id();
}

int32_t qg_spm_added_space(const qg_spm *spm)
{
  const std::string space = "\xe2\x96\x81"; /* U+2581 */
  const auto &processor = spm->processor;
  const auto pieces = processor.EncodeAsPieces("a");
  const bool added = !pieces.empty() && pieces.front().compare(0, space.size(), space) == 0;
  const int id = processor.PieceToId(space);
  return added && id != processor.unk_id() ? id : -1;
}

qg_status qg_spm_encode(qg_spm *spm, const char *text, size_t bytes, const int32_t **ids, int64_t *count)
{
  return guarded("encoding text", [&]() -> qg_status {
    const auto status = spm->processor.Encode({text, bytes}, &spm->ids);
    QG_CHECK(status.ok(), QG_ERR_RUNTIME, "SentencePiece cannot encode the text: %s",
             status.ToString().c_str());
    *ids = spm->ids.data();
    *count = static_cast<int64_t>(spm->ids.size());
    return QG_OK;
  });
}
