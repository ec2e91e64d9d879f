#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/train/recorders/tensorboard.hpp>

#include "../support/support.hpp"

namespace {

// A reader of its own, bit by bit from the definition: no table, no code shared with the writer.
std::uint32_t crc32c_by_bits(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char c : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const bool one = ((crc ^ (static_cast<unsigned char>(c) >> bit)) & 1U) != 0;
      crc = (crc >> 1) ^ (one ? 0x82F63B78U : 0U);
    }
  return ~crc;
}

std::uint32_t mask(std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8U; }

template <class T>
T take(std::string_view& bytes) {
  BOOST_REQUIRE(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<std::uint8_t>(bytes);
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
}

// Field number -> raw contents of each occurrence (numbers in their wire bytes).
std::multimap<int, std::string> fields(std::string_view bytes) {
  std::multimap<int, std::string> out;
  while (!bytes.empty()) {
    const std::uint64_t key = take_varint(bytes);
    const int field = static_cast<int>(key >> 3);
    if ((key & 7U) == 0) {
      const std::uint64_t value = take_varint(bytes);
      out.emplace(field, std::string(reinterpret_cast<const char*>(&value), 8));
    } else {
      const std::size_t size = (key & 7U) == 1 ? 8 : (key & 7U) == 5 ? 4 : take_varint(bytes);
      BOOST_REQUIRE(size <= bytes.size());
      out.emplace(field, std::string(bytes.substr(0, size)));
      bytes.remove_prefix(size);
    }
  }
  return out;
}

std::vector<std::string> records(std::string_view bytes) {
  std::vector<std::string> out;
  while (!bytes.empty()) {
    const std::string_view head = bytes.substr(0, 8);
    const auto size = take<std::uint64_t>(bytes);
    BOOST_TEST(take<std::uint32_t>(bytes) == mask(crc32c_by_bits(head)));
    BOOST_REQUIRE(size <= bytes.size());
    out.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
    BOOST_TEST(take<std::uint32_t>(bytes) == mask(crc32c_by_bits(out.back())));
  }
  return out;
}

std::uint64_t as_number(const std::string& raw) {
  std::uint64_t value = 0;
  std::memcpy(&value, raw.data(), std::min<std::size_t>(8, raw.size()));
  return value;
}

struct scalars {
  std::map<std::string, std::vector<std::pair<std::uint64_t, float>>> values;
  std::vector<std::uint64_t> session_starts;
  std::string version;
};

scalars read_scalars(const std::filesystem::path& file) {
  scalars out;
  for (const std::string& record : records(lodestone_test::read_file(file))) {
    const auto event = fields(record);
    const std::uint64_t step = event.contains(2) ? as_number(event.find(2)->second) : 0;
    if (event.contains(3)) out.version = event.find(3)->second;
    if (event.contains(7)) out.session_starts.push_back(step);
    if (!event.contains(5)) continue;
    for (const auto& [field, value] : fields(event.find(5)->second)) {
      const auto parts = fields(value);
      if (!parts.contains(2)) continue;  // text
      float number = 0.0F;
      std::memcpy(&number, parts.find(2)->second.data(), 4);
      out.values[parts.find(1)->second].emplace_back(step, number);
    }
  }
  return out;
}

std::vector<std::filesystem::path> files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_tensorboard)

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
static_assert(lodestone::detail::crc32c("123456789") == 0xE3069283U);

BOOST_AUTO_TEST_CASE(checksums_of_rfc_3720) {
  using lodestone::detail::crc32c;
  BOOST_TEST(crc32c(std::string(32, '\0')) == 0x8A9136AAU);
  BOOST_TEST(crc32c(std::string(32, '\xff')) == 0x62A8AB43U);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i), falling += static_cast<char>(31 - i);
  BOOST_TEST(crc32c(rising) == 0x46DD794EU);
  BOOST_TEST(crc32c(falling) == 0x113FDB5CU);
}

BOOST_AUTO_TEST_CASE(scalars_read_back) {
  const lodestone_test::temporary_folder folder;
  lodestone::tensorboard_recorder recorder(folder / "tb");
  recorder.record(lodestone::run_started{.settings = {{"a|b", "x\ny"}}});
  for (int i = 1; i <= 300; ++i)  // steps past 127 take two bytes
    recorder.record(lodestone::step_record{.step = i, .epoch = 0.5, .loss = 1.0 / i, .learning_rate = 2e-5,
                                           .tokens = 100, .seconds = 2.0});
  recorder.record(lodestone::evaluation_record{.step = 300,
                                               .name = "held-out",
                                               .loss = 2.0,
                                               .token_loss = 3.0,
                                               .buckets = {{0, 256, 1.5, 10}, {256, 512, 9.0, 0}},
                                               .preference = {.groups = 4, .margin = 0.25, .accuracy = 0.75}});
  const auto names = files(folder / "tb");
  BOOST_REQUIRE(names.size() == 1U);
  BOOST_TEST(names[0].filename().string().starts_with("events.out.tfevents."));
  const scalars read = read_scalars(names[0]);
  BOOST_TEST(read.version == "brain.Event:2");
  const auto& loss = read.values.at("train/loss");
  BOOST_REQUIRE(loss.size() == 300U);
  for (std::size_t i = 0; i < loss.size(); ++i) {
    BOOST_TEST(loss[i].first == i + 1);
    BOOST_TEST(loss[i].second == static_cast<float>(1.0 / static_cast<double>(i + 1)));
  }
  BOOST_TEST(read.values.at("train/tokens_per_second")[0].second == 50.0F);
  BOOST_TEST(read.values.at("held-out/loss")[0].second == 2.0F);
  BOOST_TEST(read.values.at("held-out/token_loss")[0].second == 3.0F);
  BOOST_TEST(read.values.at("held-out/loss_by_position/0-256")[0].second == 1.5F);
  BOOST_TEST(!read.values.contains("held-out/loss_by_position/256-512"));  // no target fell there
  BOOST_TEST(read.values.at("held-out/rewards/margins")[0].second == 0.25F);
  BOOST_TEST(read.values.at("held-out/rewards/accuracies")[0].second == 0.75F);
  BOOST_TEST(!read.values.contains("train/rewards/margins"));  // those steps compared nothing
}

BOOST_AUTO_TEST_CASE(a_resumed_run_marks_where_it_takes_over) {
  const lodestone_test::temporary_folder folder;
  for (const std::int64_t resumed : {0, 5}) {
    lodestone::tensorboard_recorder recorder(folder / "tb");
    recorder.record(lodestone::run_started{.resumed_step = resumed});
    recorder.record(lodestone::step_record{.step = resumed + 1});
  }
  const auto names = files(folder / "tb");
  BOOST_REQUIRE(names.size() == 2U);  // also when both start in the same second
  BOOST_TEST(read_scalars(names[0]).session_starts.empty());
  const scalars second = read_scalars(names[1]);
  BOOST_REQUIRE(second.session_starts.size() == 1U);
  BOOST_TEST(second.session_starts[0] == 6U);
}

BOOST_AUTO_TEST_CASE(a_place_that_cannot_be_written_is_an_error) {
  lodestone::tensorboard_recorder recorder("/dev/null/tb");
  BOOST_CHECK_THROW(recorder.record(lodestone::step_record{}), lodestone::io_error);
}

BOOST_AUTO_TEST_SUITE_END()
