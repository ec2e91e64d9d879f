#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/checkpoint/convert.hpp>
#include <lodestone/checkpoint/pickle.hpp>
#include <lodestone/checkpoint/pickle_machine.hpp>
#include <lodestone/checkpoint/zip.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::dtype;
using lodestone::format_error;
using lodestone_test::data;
using nlohmann::json;

std::string rejection(const std::string& bytes) {
  try {
    const lodestone::pickle::archive archive(std::as_bytes(std::span(bytes.data(), bytes.size())), "pytorch_model.bin");
  } catch (const format_error& failure) {
    return failure.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

double element(const lodestone::safetensors::entry& entry, std::size_t i) {
  const std::byte* at = entry.bytes.data() + i * lodestone::size_of(entry.type);
  const auto as = [&]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return lodestone::convert<double>(value);
  };
  switch (entry.type) {
    case dtype::f64: return as(double{});
    case dtype::f32: return as(float{});
    case dtype::f16: return as(lodestone::f16{});
    case dtype::bf16: return as(lodestone::bf16{});
    case dtype::i64: return as(std::int64_t{});
    case dtype::i32: return as(std::int32_t{});
    case dtype::i16: return as(std::int16_t{});
    case dtype::i8: return as(std::int8_t{});
    default: return as(std::uint8_t{});
  }
}

/// A zip file of stored entries without checksums: enough for the reader.
std::string zipped(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string file;
  std::string directory;
  const auto put = [](std::string& to, auto value) { to.append(reinterpret_cast<const char*>(&value), sizeof value); };
  for (const auto& [name, content] : entries) {
    const auto size = static_cast<std::uint32_t>(content.size());
    const auto offset = static_cast<std::uint32_t>(file.size());
    put(file, std::uint32_t{0x04034b50});
    file.append(22, '\0');
    put(file, static_cast<std::uint16_t>(name.size()));
    put(file, std::uint16_t{0});
    file += name + content;
    put(directory, std::uint32_t{0x02014b50});
    directory.append(16, '\0');
    put(directory, size);
    put(directory, size);
    put(directory, static_cast<std::uint16_t>(name.size()));
    directory.append(12, '\0');
    put(directory, offset);
    directory += name;
  }
  const auto begin = static_cast<std::uint32_t>(file.size());
  file += directory;
  put(file, std::uint32_t{0x06054b50});
  file.append(4, '\0');
  put(file, static_cast<std::uint16_t>(entries.size()));
  put(file, static_cast<std::uint16_t>(entries.size()));
  put(file, static_cast<std::uint32_t>(directory.size()));
  put(file, begin);
  file.append(2, '\0');
  return file;
}

std::string rejection_of_pickle(const std::string& program) {
  return rejection(zipped({{"a/data.pkl", program}, {"a/data/0", std::string(16, '\0')}}));
}

std::string text(const std::string& value) { return std::string("\x8c") + static_cast<char>(value.size()) + value; }

/// A dictionary with one float32 tensor on the 4 elements of data/0.
std::string one_tensor(const std::string& offset, const std::string& sizes, const std::string& strides,
                       const std::string& elements = "K\4") {
  return "\x80\2}" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" +
         text("0") + text("cpu") + elements + "tQ" + offset + sizes + strides + "\x89}tRs.";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_pickle)

BOOST_AUTO_TEST_CASE(reads_what_torch_saves_and_refuses_the_rest) {
  const json cases = json::parse(lodestone_test::read_file(data("checkpoint/pytorch_cases.json")));
  const std::map<std::string, dtype> types{{"float32", dtype::f32},   {"float64", dtype::f64}, {"float16", dtype::f16},
                                           {"bfloat16", dtype::bf16}, {"int64", dtype::i64},   {"int32", dtype::i32},
                                           {"uint8", dtype::u8},      {"bool", dtype::boolean}};
  int accepted = 0;
  for (const json& item : cases) {
    const auto name = item["name"].get<std::string>();
    BOOST_TEST_CONTEXT(name) {
      const auto path = data("checkpoint/" + name + ".bin");
      if (!item["accepted"].get<bool>()) {
        const std::string reason = rejection(lodestone_test::read_file(path));
        BOOST_TEST(!reason.empty());
        BOOST_TEST(contains(reason, "pytorch_model.bin"), reason);
        continue;
      }
      ++accepted;
      const lodestone::pickle::file file(path);
      BOOST_REQUIRE(file.entries().size() == item["tensors"].size());
      for (const auto& entry : file.entries()) {
        const json& expected = item["tensors"].at(entry.name);
        BOOST_TEST((entry.type == types.at(expected["dtype"])));
        BOOST_TEST((entry.shape == expected["shape"].get<std::vector<std::int64_t>>()));
        const auto values = expected["values"].get<std::vector<double>>();
        BOOST_REQUIRE(entry.bytes.size() == values.size() * lodestone::size_of(entry.type));
        for (std::size_t i = 0; i < values.size(); ++i) BOOST_TEST(element(entry, i) == values[i]);
      }
    }
  }
  BOOST_TEST(accepted == 5);
}

BOOST_AUTO_TEST_CASE(refusals_give_the_lines_that_convert) {
  const std::string reason = rejection(lodestone_test::read_file(data("checkpoint/runs_code.bin")));
  BOOST_TEST(contains(reason, "exec"), reason);
  BOOST_TEST(contains(reason, "import torch, safetensors.torch\n"), reason);
  BOOST_TEST(contains(reason, "torch.load(\"pytorch_model.bin\", map_location=\"cpu\", weights_only=True)\n"), reason);
  BOOST_TEST(contains(reason, "safetensors.torch.save_file("), reason);
  BOOST_TEST(contains(reason, "\"model.safetensors\")"), reason);
}

BOOST_AUTO_TEST_CASE(every_prefix_of_a_file_is_refused) {
  const std::string whole = lodestone_test::read_file(data("checkpoint/tensors.bin"));
  for (std::size_t size = 0; size < whole.size(); ++size) BOOST_TEST(!rejection(whole.substr(0, size)).empty());
}

BOOST_AUTO_TEST_CASE(tensors_stay_within_their_storage) {
  const std::string zero = std::string("K") + '\0';
  const std::string square = "(K\2K\2t";
  const std::string rows = "(K\2K\1t";
  const std::string huge = std::string("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", 10);  // 2^63 - 1
  const std::string negative = std::string("\x8a\x01\xff", 3);
  BOOST_TEST(rejection_of_pickle(one_tensor(zero, square, rows)).empty());
  BOOST_TEST(contains(rejection_of_pickle(one_tensor("K\1", square, rows)), "outside its data"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(zero, square, "(K\3K\1t")), "outside its data"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(huge, square, rows)), "outside its data"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(negative, "(K\1t", "(K\1t")), "outside its data"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(zero, square, "(" + huge + "K\1t")), "outside its data"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(zero, "(" + huge + huge + "t", rows)), "passes 2^63"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(zero, "(" + negative + "t", "(K\1t")), "impossible sizes"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(zero, square, "(K\1t")), "differ in number"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(zero, square, rows, "K\5")), "shorter than"));
  BOOST_TEST(contains(rejection_of_pickle(one_tensor(zero, square, rows, negative)), "shorter than"));
  BOOST_TEST(
      contains(rejection_of_pickle(one_tensor(zero, "(K\xffK\xffK\xfft", "(" + zero + zero + zero + "t")), "repeats"));
  // The stride of an axis of size 1 says nothing, however large; the transpose is copied.
  BOOST_TEST(rejection_of_pickle(one_tensor(zero, "(K\2K\1K\2t", "(K\1" + huge + "K\2t")).empty());
}

BOOST_AUTO_TEST_CASE(broken_programs_are_refused) {
  BOOST_TEST(contains(rejection_of_pickle(""), "ends early"));
  BOOST_TEST(contains(rejection_of_pickle("."), "empty stack"));
  BOOST_TEST(contains(rejection_of_pickle("t."), "without its mark"));
  BOOST_TEST(contains(rejection_of_pickle("}h\7."), "reference to nothing"));
  BOOST_TEST(contains(rejection_of_pickle("}]s."), "empty stack"));
  BOOST_TEST(contains(rejection_of_pickle("}(K\1u."), "impossible assignment"));
  BOOST_TEST(contains(rejection_of_pickle("c__builtin__\neval\n."), "'__builtin__.eval'"));
  BOOST_TEST(contains(rejection_of_pickle("ctorch._utils\n_rebuild_tensor_v2"), "ends early"));
  BOOST_TEST(contains(rejection_of_pickle(text("os") + text("system") + "\x93."), "'os.system'"));
  BOOST_TEST(contains(rejection_of_pickle("i"), "opcode 105"));     // INST would call by name
  BOOST_TEST(contains(rejection_of_pickle("\x81"), "opcode 129"));  // NEWOBJ
  BOOST_TEST(contains(rejection_of_pickle("X\xff\xff\xff\xff"), "ends early"));
  BOOST_TEST(contains(rejection_of_pickle("}" + text("a") + "}s."), "no tensor"));
  BOOST_TEST(rejection_of_pickle("}.").empty());
  BOOST_TEST(!rejection_of_pickle(std::string(1'000'000, '(')).empty());
  std::string nested = ")";
  for (int i = 0; i < 1'000'000; ++i) nested += '\x85';  // a million tuples in tuples
  BOOST_TEST(contains(rejection_of_pickle(nested + "."), "something else than a dictionary"));
}

BOOST_AUTO_TEST_CASE(damaged_containers_are_refused) {
  const std::string good = zipped({{"a/data.pkl", "}."}});
  BOOST_TEST(rejection(good).empty());
  BOOST_TEST(rejection(good + std::string(0, 'x')).empty());
  for (std::size_t i = 0; i < good.size(); ++i)
    for (const int bit : {1, 16, 128}) {
      std::string damaged = good;
      damaged[i] = static_cast<char>(damaged[i] ^ bit);
      (void)rejection(damaged);  // any verdict, no crash: the sanitizer build looks
    }
  BOOST_TEST(contains(rejection(zipped({{"a/data.pkl", "}."}, {"a/data.pkl", "}."}})), "appears twice"));
  BOOST_TEST(contains(rejection("PK\3\4"), "too short"));
  BOOST_TEST(contains(rejection("PK\3\4" + std::string(100, ' ')), "its end is missing"));
  BOOST_TEST(contains(rejection(zipped({{"a/data.txt", "}."}})), "no data.pkl"));
}

BOOST_AUTO_TEST_SUITE_END()
