// The rules of keys: "collection/member", cut at the first '/'.
#pragma once

#include "status.h"

#include <string_view>

namespace dskvs {

struct Key {
  std::string_view collection;
  std::string_view member;
};

inline Status parse_key(std::string_view text, Key* key) noexcept {
  if (text.size() > DSKVS_KEY_SIZE_MAX) {
    return fail(Status::kKey, "the key has {} bytes; at most {} are allowed", text.size(),
                DSKVS_KEY_SIZE_MAX);
  }
  if (text.empty()) return fail(Status::kKey, "the key is empty");
  const size_t at = text.find('/');
  if (at == text.npos) return fail(Status::kKey, "the key has no '/': collection/member");
  if (at == 0) return fail(Status::kKey, "the key begins with '/': its collection has no name");
  if (at + 1 == text.size()) {
    return fail(Status::kKey, "the key ends with its first '/': its member has no name");
  }
  *key = {text.substr(0, at), text.substr(at + 1)};
  return Status::kOk;
}

inline Status check_collection(std::string_view name) noexcept {
  if (name.empty()) return fail(Status::kKey, "the collection's name is empty");
  // With '/' and a member of one byte it must still be a key.
  if (name.size() > DSKVS_KEY_SIZE_MAX - 2) {
    return fail(Status::kKey, "the collection's name has {} bytes; at most {} are allowed",
                name.size(), DSKVS_KEY_SIZE_MAX - 2);
  }
  if (name.find('/') != name.npos) {
    return fail(Status::kKey, "the collection's name holds a '/'");
  }
  return Status::kOk;
}

}  // namespace dskvs
