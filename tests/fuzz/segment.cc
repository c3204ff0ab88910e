// The segment reader against a second reading of docs/file-format.md: one that has the whole file
// in memory, looks at every place, and shares nothing with the first but the checksum.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "checksum.h"
#include "disk/segment_reader.h"
#include "fuzz/bodies.h"
#include "fuzz/input.h"

namespace dskvs::test {
namespace {

constexpr StoreId kStoreId{1, 2, 3};
constexpr uint64_t kSegmentId = 7;
constexpr size_t kFramesMax = 64;
constexpr size_t kHeader = 24;

// How large everything is in an input: the reader's buffer as it is in use, or so much smaller,
// with gaps, keys and values, that a search through a file that fills it more than once takes no
// time.
struct Scale {
  size_t divisor;
  size_t buffer_bytes;
  size_t image_bytes_max;
};
constexpr Scale kFull{1, size_t{1} << 20, size_t{5} << 18};
constexpr Scale kSmall{256, size_t{1} << 12, size_t{1} << 14};

using Image = std::vector<std::byte>;

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

uint64_t seed_at(uint64_t offset) {
  return checksum(kSegmentId, kStoreId.data(), kStoreId.size()) + offset * 0x9E3779B97F4A7C15u;
}

// ---- The file.

// What is wrong with a frame; everything else about it is made to fit.
enum class Flaw { kChecksum, kPadding, kCheck, kZero, kLongSize, kHugeSize, kGap, kNone };

void add_frame(Input& input, const Scale& scale, Image* image) {
  const uint8_t flawed = input.byte();
  const auto flaw = flawed % 4 == 0 ? static_cast<Flaw>(flawed / 4 % 8) : Flaw::kNone;
  if (flaw == Flaw::kGap) {
    return image->resize(image->size() + 8 * (input.two_bytes() / scale.divisor));
  }

  static constexpr uint8_t kTypes[] = {1, 1, 1, 2, 3, 4, 5};
  const uint8_t choice = input.byte();
  const uint8_t type = choice % 8 == 7 ? choice / 8 : kTypes[choice % 8];
  const bool named = type != 4 && type != 5;
  uint16_t key_size = named ? input.byte() : 0;
  if (key_size > 200) key_size = static_cast<uint16_t>(input.two_bytes() / scale.divisor);
  size_t value_size = 0;
  if (type == 4) value_size = 72;
  if (type == 5) value_size = input.two_bytes() % 8192;
  if (type == 1) {  // small ones exactly, large ones seldom and coarsely
    value_size = input.byte();
    if (value_size >= 224) {
      value_size = (value_size - 223) * input.byte() * (256 / scale.divisor) + input.byte();
    }
  }
  // Nothing is hidden in a large value: to search it would only take time.
  if (type == 1 && flaw >= Flaw::kCheck && flaw <= Flaw::kHugeSize) value_size %= 4096;
  const size_t bytes_max = scale.image_bytes_max;
  value_size = std::min(value_size, bytes_max - std::min(bytes_max, image->size()));

  const size_t at = image->size();
  const size_t unpadded = kHeader + key_size + value_size;
  image->resize(at + (unpadded + 7) / 8 * 8);
  std::byte* const frame = image->data() + at;
  for (size_t i = kHeader; i < unpadded; i++) {  // so that no part looks like its neighbour
    frame[i] = static_cast<std::byte>((at + i) * 181 >> 3);
  }
  for (size_t i = 0; i < std::min<size_t>(key_size, 8); i++) {
    frame[kHeader + i] = std::byte{input.byte()};
  }
  const bool split = (type == 1 || type == 2) && key_size != 0 && choice < 192;
  if (split) frame[kHeader + key_size / 2] = std::byte{'/'};
  if (flaw == Flaw::kPadding) frame[image->size() - at - 1] = std::byte{input.byte()};

  frame[12] = std::byte{type};
  frame[13] = std::byte{flaw == Flaw::kZero ? input.byte() : uint8_t{0}};
  store(frame + 14, key_size);
  if (flaw == Flaw::kLongSize) value_size += input.two_bytes();
  store(frame + 16, flaw == Flaw::kHugeSize ? ~input.eight_bytes() : value_size);
  const uint64_t seed = seed_at(at);
  store(frame + 8, static_cast<uint32_t>(checksum(seed, frame + 12, 12)));
  if (flaw == Flaw::kCheck) frame[8] ^= std::byte{input.byte()};
  const uint64_t sum = checksum(seed, frame + 8, unpadded - 8);
  store(frame, flaw == Flaw::kChecksum ? input.eight_bytes() : sum == 0 ? 1 : sum);
}

Image make_image(Input& input, const Scale& scale) {
  Image image(kSegmentStart);
  for (size_t n = 0; n < kFramesMax && !input.empty() && image.size() < scale.image_bytes_max;
       n++) {
    add_frame(input, scale, &image);
  }
  return image;
}

// Reads what it is asked for, and takes care that this is no more than there may be.
class ImageFile final : public File {
 public:
  ImageFile(const Image& image, uint64_t begin, uint64_t end, bool knows_holes)
      : image_(image), begin_(begin), end_(end), knows_holes_(knows_holes) {}

  Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
    require_inside(offset, size);
    *got = size;
    std::memcpy(buffer, image_.data() + offset, size);
    return Status::kOk;
  }
  uint64_t next_data(uint64_t offset) override {
    if (!knows_holes_ || offset >= image_.size()) return offset;
    const auto data = std::find_if(image_.begin() + static_cast<ptrdiff_t>(offset), image_.end(),
                                   [](std::byte b) { return b != std::byte{0}; });
    return static_cast<uint64_t>(data - image_.begin());
  }
  uint64_t next_hole(uint64_t offset) override {
    if (!knows_holes_ || offset >= image_.size()) return UINT64_MAX;
    const auto hole =
        std::find(image_.begin() + static_cast<ptrdiff_t>(offset), image_.end(), std::byte{0});
    return static_cast<uint64_t>(hole - image_.begin());
  }
  Status size(uint64_t* bytes) override {
    *bytes = image_.size();
    return Status::kOk;
  }
  Status write(uint64_t, std::span<const Piece>) override { return refuse(); }
  Status sync() override { return refuse(); }
  void start_writeback(uint64_t, uint64_t) override { (void)refuse(); }
  Status allocate(uint64_t) override { return refuse(); }
  Status close() override { return Status::kOk; }

 private:
  void require_inside(uint64_t offset, uint64_t size) const {
    require(offset >= begin_ && offset <= end_ && size <= end_ - offset,
            "nothing is read but what was to be");
  }
  [[noreturn]] static Status refuse() { fail_fuzz("a reader writes nothing"); }

  const Image& image_;
  const uint64_t begin_;
  const uint64_t end_;
  const bool knows_holes_;
};

// ---- The second reading.

struct Expected {
  uint8_t type;
  size_t key_size;
  size_t value_size;
  size_t bytes;
};

class Plain {
 public:
  Plain(const Image& image, uint64_t end) : image_(image), end_(end) {}

  // Whether a frame's header stands at `at`, and all of the frame before the end.
  bool header_at(uint64_t at, Expected* frame) const {
    if (end_ - at < kHeader) return false;
    const std::byte* const bytes = image_.data() + at;
    *frame = {load<uint8_t>(bytes + 12), load<uint16_t>(bytes + 14), load<uint64_t>(bytes + 16), 0};
    if (load<uint64_t>(bytes) == 0 || load<uint8_t>(bytes + 13) != 0) return false;
    if (!sizes_are_right(*frame)) return false;
    if (load<uint32_t>(bytes + 8) != static_cast<uint32_t>(checksum(seed_at(at), bytes + 12, 12))) {
      return false;
    }
    if (frame->value_size > image_.size()) return false;
    frame->bytes = (kHeader + frame->key_size + frame->value_size + 7) / 8 * 8;
    return frame->bytes <= end_ - at;
  }

  // Whether an intact frame stands there.
  bool frame_at(uint64_t at, Expected* frame) const {
    if (!header_at(at, frame)) return false;
    const std::byte* const bytes = image_.data() + at;
    const size_t unpadded = kHeader + frame->key_size + frame->value_size;
    const uint64_t sum = checksum(seed_at(at), bytes + 8, unpadded - 8);
    if (load<uint64_t>(bytes) != (sum == 0 ? 1 : sum)) return false;
    for (size_t i = unpadded; i < frame->bytes; i++) {
      if (bytes[i] != std::byte{0}) return false;
    }
    return key_is_right(*frame, bytes + kHeader);
  }

  uint64_t find_header(uint64_t from, bool commits_only) const {
    Expected frame;
    for (uint64_t at = from; at < end_; at += 8) {
      if (header_at(at, &frame) && (!commits_only || frame.type == 4)) return at;
    }
    return end_;
  }

  const std::byte* bytes(uint64_t at) const { return image_.data() + at; }

 private:
  static bool sizes_are_right(const Expected& frame) {
    if (frame.type == 1) return frame.key_size >= 3;
    if (frame.type == 2) return frame.key_size >= 3 && frame.value_size == 0;
    if (frame.type == 3) return frame.key_size >= 1 && frame.value_size == 0;
    if (frame.type == 4) return frame.key_size == 0 && frame.value_size == 72;
    return frame.type == 5 && frame.key_size == 0 && frame.value_size < 8192;
  }

  static bool key_is_right(const Expected& frame, const std::byte* key) {
    size_t slash = 0;
    while (slash < frame.key_size && key[slash] != std::byte{'/'}) slash++;
    if (frame.type <= 2) return slash > 0 && slash + 1 < frame.key_size;
    return slash == frame.key_size;
  }

  const Image& image_;
  const uint64_t end_;
};

// ---- Both.

// Reads from `begin` to the end, and on behind every bad place.
uint64_t walk(SegmentReader& reader, const Plain& plain, uint64_t end, uint8_t choices) {
  uint64_t frames = 0;
  std::vector<std::byte> value;
  while (true) {
    const uint64_t at = reader.offset();
    Expected expected{};
    const bool intact = plain.frame_at(at, &expected);
    Frame frame;
    require(reader.next(&frame) == Status::kOk, "reading goes well");
    require((frame.what == Next::kEnd) == (at == end), "the end is where it is");
    if (frame.what == Next::kEnd) return frames;
    bool found = frame.what == Next::kFrame;
    if (found) {
      require(frame.offset == at && frame.bytes <= end - at, "a frame lies inside the file");
      require(frame.bytes == expected.bytes && frame.value_size == expected.value_size &&
                  static_cast<uint8_t>(frame.type) == expected.type,
              "a frame is what it says");
      const std::byte* const bytes = plain.bytes(at);
      require(frame.key.size() == expected.key_size &&
                  std::memcmp(frame.key.data(), bytes + kHeader, frame.key.size()) == 0,
              "a key is the file's");
      require(frame.checksum == load<uint64_t>(bytes), "a checksum is the file's");
      const std::byte* const stored = bytes + kHeader + expected.key_size;
      if (frame.value == nullptr) {
        const bool keep = choices % 2 != 0;
        value.assign(keep ? frame.value_size : 0, std::byte{0});
        require(reader.read_value(&frame, keep ? value.data() : nullptr) == Status::kOk,
                "reading a value goes well");
        found = frame.what == Next::kFrame;
        require(!found || std::equal(value.begin(), value.end(), stored), "a value is the file's");
      } else {
        require(std::memcmp(frame.value, stored, frame.value_size) == 0, "a value is the file's");
      }
    }
    require(found == intact, "the readers agree on what is intact");
    if (found) {
      require(reader.offset() == at + expected.bytes, "the next frame comes behind this one");
      frames++;
      continue;
    }
    require(reader.offset() == at && *frame.kind != '\0', "a bad place is named");
    Expected told{};
    const uint64_t reaches = plain.header_at(at, &told) ? told.bytes : 8;
    require(frame.bytes == reaches, "a bad place reaches as far as its header says");
    const bool commits_only = choices / 2 % 2 != 0;
    const bool skip_all = choices / 8 % 2 != 0 || reaches > 4 * kBlockBytes;
    reader.seek(at + (skip_all ? reaches : 8));
    const uint64_t from = reader.offset();
    require(from == std::min(at + (skip_all ? reaches : 8), end), "a seek leads there");
    require(reader.find_header(commits_only) == Status::kOk, "searching goes well");
    require(reader.offset() == plain.find_header(from, commits_only),
            "the readers agree on the next header");
  }
}

}  // namespace

bool fuzz_segment(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint8_t choices = input.byte();
  const uint64_t cut = input.byte();
  const Scale& scale = input.byte() == kRare ? kFull : kSmall;
  const Image image = make_image(input, scale);
  const uint64_t end =
      std::max<uint64_t>(kSegmentStart, image.size() - std::min(cut, cut * cut / 64));
  const Plain plain(image, end);

  ProgressMeter meter({}, end);
  SegmentReader fresh(meter, scale.buffer_bytes);
  SegmentReader used(meter, scale.buffer_bytes);  // its buffer is larger than a small file needs
  used.open(nullptr, FrameSeed(kStoreId, 1), 0, 64 << 10);
  uint64_t frames[2];
  uint64_t* count = frames;
  for (SegmentReader* reader : {&fresh, &used}) {
    const bool knows_holes = (choices / 4 % 2 != 0) == (reader == &used);
    reader->open(std::make_unique<ImageFile>(image, kSegmentStart, end, knows_holes),
                 FrameSeed(kStoreId, kSegmentId), kSegmentStart, end);
    *count++ = walk(*reader, plain, end, choices);
  }
  require(frames[0] == frames[1], "the result is the same, however it is read");
  return frames[0] != 0;
}

}  // namespace dskvs::test
