// dskvs from C++. `example DIRECTORY`
#include <cstring>
#include <dskvs/dskvs.hpp>
#include <iostream>

// Counts up under a key that other threads may count up too.
static std::uint64_t count_up(dskvs::Store& store, std::string_view key) {
  for (;;) {
    std::uint64_t next = 0;
    auto held = store.get(key);
    if (held && held->size() == sizeof next) std::memcpy(&next, held->data(), sizeof next);
    next++;
    if (store.put_if(key, held, {reinterpret_cast<const char*>(&next), sizeof next})) return next;
  }
}

int main(int argc, char** argv) try {
  dskvs::Store store(argc == 2 ? argv[1] : "music");

  store.put("artist/daft_punk", "house");
  for (const auto& [member, value] : store.get_all("artist"))
    std::cout << member << ": " << value << '\n';

  auto before = store.get("artist/daft_punk");
  store.put("artist/daft_punk", "disco");  // `before` is still "house"
  if (before)
    std::cout << before->view() << " -> " << store.get("artist/daft_punk")->view() << '\n';

  count_up(store, "site/visits");
  std::cout << "visits: " << count_up(store, "site/visits") << '\n';

  store.sync();
  store.close();
  return 0;
} catch (const dskvs::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
