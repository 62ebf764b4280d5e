#include "tools/spm_shim.h"

#include <sentencepiece_processor.h>

#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

struct qg_spm {
  sentencepiece::SentencePieceProcessor processor;
  sentencepiece::SentencePieceProcessor continued; /* puts no space before the text */
  bool strips = false;                             /* white space at the ends of a text */
  std::vector<int> ids;
  std::string text;
};

/* Appended to a serialised model: field 3 (normalizer_spec) with its field 3 (add_dummy_prefix) = false. Parsers merge a
 * message that comes twice, and the last value counts (protobuf's encoding, "Last One Wins"). */
static const std::string without_dummy_prefix("\x1a\x02\x18\x00", 4);

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
    const auto rest = spm->continued.LoadFromSerializedProto(spm->processor.serialized_model_proto() +
                                                             without_dummy_prefix);
    QG_CHECK(rest.ok(), QG_ERR_RUNTIME, "%s: SentencePiece cannot load it a second time: %s", path,
             rest.ToString().c_str());
    spm->strips = spm->processor.EncodeAsIds("a ") == spm->processor.EncodeAsIds("a");
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

/* A model that strips white space at the ends of a text loses the space before a piece, and gives it back by the one that
 * it puts before every text. Others keep it, and must not put another one before it. */
static sentencepiece::SentencePieceProcessor &processor_of(qg_spm *spm, const qg_spm_piece *piece)
{
  const bool begins_with_space = piece->bytes > 0 && std::strchr(" \t\r\n", piece->text[0]) != nullptr;
  if (!piece->continues || (spm->strips && begins_with_space)) return spm->processor;
  return spm->continued;
}

qg_status qg_spm_encode(qg_spm *spm, const qg_spm_piece *piece, const int32_t **ids, int64_t *count)
{
  return guarded("encoding text", [&]() -> qg_status {
    const auto status = processor_of(spm, piece).Encode({piece->text, piece->bytes}, &spm->ids);
    QG_CHECK(status.ok(), QG_ERR_RUNTIME, "SentencePiece cannot encode the text: %s",
             status.ToString().c_str());
    *ids = spm->ids.data();
    *count = static_cast<int64_t>(spm->ids.size());
    return QG_OK;
  });
}

qg_status qg_spm_decode(qg_spm *spm, bool continues, const int32_t *ids, int64_t count, const char **text, size_t *bytes)
{
  return guarded("decoding ids", [&]() -> qg_status {
    const std::vector<int> all(ids, ids + count);
    const auto status = (continues ? spm->continued : spm->processor).Decode(all, &spm->text);
    QG_CHECK(status.ok(), QG_ERR_RUNTIME, "SentencePiece cannot decode its ids: %s", status.ToString().c_str());
    *text = spm->text.data();
    *bytes = spm->text.size();
    return QG_OK;
  });
}
