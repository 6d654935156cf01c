#include "backend/nats/nats_error.h"

#include <fmt/core.h>
#include <nats/nats.h>

#include "http/curl_error.h"

namespace litestream::nats {
namespace {

// The server answers with this number whatever it was that could not be stored.
bool IsFull(std::string_view description) {
  for (const std::string_view words : {"maximum bytes exceeded", "maximum messages exceeded",
                                       "no space left", "resource limits exceeded"}) {
    if (description.find(words) != std::string_view::npos) return true;
  }
  return false;
}

std::string_view Hint(const ApiError& error) {
  switch (error.err_code) {
    case JSStreamNotFoundErr:
      return "; it must be created beforehand: nats object add BUCKET";
    case JSNotEnabledErr:
    case JSNotEnabledForAccountErr:
      return "; start nats-server with -js, and allow JetStream for the account";
    case JSStreamMessageExceedsMaximumErr:
      return "; its stream must allow messages of 128 KiB";
    case JSStreamRollupFailedErr:
      return "; its stream must allow rollup headers, as object stores do";
    case JSStreamSealedErr:
      return "; a sealed bucket cannot be written";
    case JSAccountResourcesExceededErr:
    case JSInsufficientResourcesErr:
    case JSMemoryResourcesExceededErr:
    case JSStorageResourcesExceededErr:
      return "; raise the limits of the account or the server";
    default:
      break;
  }
  if (IsFull(error.description)) return "; raise the bucket's size, or that of the server's disk";
  if (error.code == kNoResponders && error.err_code == 0) {
    return "; is there such a bucket, is JetStream on, and is the domain right?";
  }
  return "";
}

}  // namespace

ErrorCode MeaningOf(const ApiError& error) {
  switch (error.err_code) {
    case JSNoMessageFoundErr:
    case JSSequenceNotFoundErr:
      return ErrorCode::kNotFound;
    case JSStreamWrongLastSequenceErr:
    case JSStreamWrongLastMsgIDErr:
      return ErrorCode::kAlreadyExists;
    case JSStreamNotFoundErr:
    case JSStreamNotMatchErr:
    case JSNotEnabledForAccountErr:
    case JSStreamMessageExceedsMaximumErr:
    case JSStreamRollupFailedErr:
      return ErrorCode::kInvalidArgument;
    case JSNotEnabledErr:  // Also while a server starts.
      return ErrorCode::kUnavailable;
    case JSAccountResourcesExceededErr:
    case JSInsufficientResourcesErr:
    case JSMemoryResourcesExceededErr:
    case JSStorageResourcesExceededErr:
      return ErrorCode::kNoSpace;
    case JSStreamSealedErr:
      return ErrorCode::kDenied;
    case JSStreamStoreFailedErr:
    case JSStreamPurgeFailedErr:
      return IsFull(error.description) ? ErrorCode::kNoSpace : ErrorCode::kUnavailable;
    default:
      break;
  }
  if (error.code == 404 && error.err_code == 0) return ErrorCode::kNotFound;  // Of a direct get.
  if (error.code == 401 || error.code == 403) return ErrorCode::kDenied;
  if (error.code == 429) return ErrorCode::kThrottled;
  if (error.code == 408 || error.code >= 500) return ErrorCode::kUnavailable;
  return ErrorCode::kInternal;
}

ErrorCode MeaningOf(int status) {
  switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
      return ErrorCode::kDenied;
    case NATS_SECURE_CONNECTION_WANTED:
    case NATS_SECURE_CONNECTION_REQUIRED:
    case NATS_SSL_ERROR:
    case NATS_ADDRESS_MISSING:
    case NATS_INVALID_ARG:
    case NATS_INVALID_SUBJECT:
    case NATS_MAX_PAYLOAD:
    case NATS_NO_SERVER_SUPPORT:
      return ErrorCode::kInvalidArgument;
    case NATS_NO_MEMORY:
    case NATS_FAILED_TO_INITIALIZE:
    case NATS_NOT_INITIALIZED:
    case NATS_ILLEGAL_STATE:
      return ErrorCode::kInternal;
    default:
      return ErrorCode::kUnavailable;
  }
}

Error Describe(const ApiError& error, std::string_view doing, std::string_view bucket) {
  const std::string number =
      error.err_code == 0 ? std::to_string(error.code) : std::to_string(error.err_code);
  const std::string said = error.description.empty() && error.code == kNoResponders
                               ? "nobody answers"
                               : http::Shown(error.description);
  return {MeaningOf(error),
          fmt::format("nats: {}: bucket {}: {} ({}){}", doing, bucket, said, number, Hint(error))};
}

Error DescribeConnect(int status, std::string_view text, std::string_view server) {
  std::string_view hint;
  switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
      hint = "; check username and password, token, creds, or jwt, nkey and seed";
      break;
    case NATS_SECURE_CONNECTION_WANTED:
      hint = "; the server does not offer TLS, and `tls` or certificates ask for it";
      break;
    case NATS_SSL_ERROR:
      hint =
          "; check root-cas, client-cert and client-key, and that the certificate is for this "
          "host";
      break;
    case NATS_NO_SERVER:
      hint = "; is the server running, and is the port right?";
      break;
    default:
      break;
  }
  const char* const name = natsStatus_GetText(static_cast<natsStatus>(status));
  const bool same = text.empty() || text == name;
  return {MeaningOf(status), fmt::format("nats: connect to {}: {}{}{}{}", server, name,
                                         same ? "" : ": ", same ? "" : http::Shown(text), hint)};
}

}  // namespace litestream::nats
