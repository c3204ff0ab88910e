#include "workloads/common.h"

namespace bench {

double load(Team& team, uint64_t entries, uint64_t collections, const Values& values,
            size_t value_size) {
  Random random(11);
  std::vector<Keys> keys;
  for (size_t thread = 0; thread < team.size(); ++thread) {
    Slice slice(entries, team.size(), thread);
    keys.emplace_back(shuffled(in_order(slice.first, slice.size()), &random), collections);
  }
  return team.run([&](size_t thread, Session& session) {
    const Keys& mine = keys[thread];
    for (size_t i = 0; i < mine.size(); ++i) session.put(mine[i], values.get(i, value_size));
  });
}

uint64_t bytes_sent_by(const Store& store) {
  uint64_t server = store.server_pid() == 0 ? 0 : bytes_sent_to_disk(store.server_pid());
  return bytes_sent_to_disk() + server;
}

uint64_t resident_bytes_of(const Store& store) {
  uint64_t server = store.server_pid() == 0 ? 0 : resident_bytes(store.server_pid());
  return resident_bytes() + server;
}

}  // namespace bench
