#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/checkpoint/json.hpp>
#include <lodestone/checkpoint/safetensors.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::dtype;
using lodestone::format_error;
namespace safetensors = lodestone::safetensors;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::string image(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  return text + header + std::string(data, '\0');
}

std::string rejection(const temporary_folder& folder, const std::string& bytes) {
  write_file(folder / "case.safetensors", bytes);
  try {
    const safetensors::file file(folder / "case.safetensors");
  } catch (const format_error& failure) {
    return failure.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_safetensors)

BOOST_AUTO_TEST_CASE(accepts_and_rejects_as_the_reference_does) {
  const temporary_folder folder;
  const auto cases =
      nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("checkpoint/safetensors_cases.json")));
  BOOST_TEST(cases.size() > 40U);
  for (const auto& item : cases) {
    const std::string reason = rejection(folder, from_hex(item["hex"]));
    BOOST_TEST(reason.empty() == item["accepted"].get<bool>(), item["name"] << ": " << reason);
    if (!reason.empty()) BOOST_TEST(contains(reason, "case.safetensors"), reason);
  }
}

BOOST_AUTO_TEST_CASE(rejects_duplicate_names_too) {
  const temporary_folder folder;
  const std::string once = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  BOOST_TEST(rejection(folder, image("{" + once + "}", 0)).empty());
  BOOST_TEST(contains(rejection(folder, image("{" + once + "," + once + "}", 0)), "'a' appears twice"));
  BOOST_TEST(contains(rejection(folder, image(R"({"__metadata__":{"k":"1","k":"2"}})", 0)), "'k' appears twice"));
}

BOOST_AUTO_TEST_CASE(messages_name_the_tensor_and_the_type) {
  const temporary_folder folder;
  const std::string unknown =
      rejection(folder, image(R"({"w.q":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2));
  BOOST_TEST(contains(unknown, "F8_E4M3"), unknown);
  BOOST_TEST(contains(unknown, "'w.q'"), unknown);
  const std::string wrong =
      rejection(folder, image(R"({"w.q":{"dtype":"F16","shape":[2,3],"data_offsets":[0,10]}})", 10));
  BOOST_TEST(contains(wrong, "F16 [2, 3] takes 12"), wrong);
  const std::string deep = rejection(folder, image(std::string(1'000'000, '['), 0));
  BOOST_TEST(contains(deep, "nested too deeply"), deep);
}

BOOST_AUTO_TEST_CASE(every_prefix_of_a_file_is_rejected) {
  const temporary_folder folder;
  const std::string whole = image(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  BOOST_TEST(rejection(folder, whole).empty());
  for (std::size_t size = 0; size < whole.size(); ++size) BOOST_TEST(!rejection(folder, whole.substr(0, size)).empty());
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const temporary_folder folder;
  const std::vector<std::uint8_t> bytes{1, 2, 3};
  const std::vector<double> doubles{1.5, -2.5};
  const std::vector<float> floats{0.25F, 4.0F, 8.0F, 1.0F, 2.0F, 3.0F};
  const std::vector<std::int64_t> integers{-1};
  const std::string name = "tensor \"quoted\" \u00e9\n";
  safetensors::writer writer(folder / "x.safetensors",
                             {{"bytes", dtype::u8, {3}},
                              {name, dtype::f64, {2}},
                              {"nothing", dtype::f32, {0, 5}},
                              {"floats", dtype::f32, {2, 3}},
                              {"scalar", dtype::i64, {}},
                              {"end", dtype::bf16, {0}}},
                             {{"format", "pt"}, {"note", "a\nb"}});
  writer.write_values<std::uint8_t>(bytes);
  writer.write_values<double>(doubles);
  const auto raw = std::as_bytes(std::span(floats));
  writer.write(raw.first(5));  // pieces need not end with a tensor
  writer.write(raw.subspan(5));
  writer.write_values<std::int64_t>(integers);
  BOOST_TEST(!std::filesystem::exists(folder / "x.safetensors"));
  writer.commit();

  safetensors::file file(folder / "x.safetensors");
  BOOST_TEST(file.entries().size() == 6U);
  BOOST_TEST(file.values<std::uint8_t>("bytes") == std::span<const std::uint8_t>(bytes),
             boost::test_tools::per_element());
  BOOST_TEST(file.values<double>(name) == std::span<const double>(doubles), boost::test_tools::per_element());
  BOOST_TEST(file.values<float>("floats") == std::span<const float>(floats), boost::test_tools::per_element());
  BOOST_TEST(file.values<std::int64_t>("scalar")[0] == -1);
  BOOST_TEST(file.values<float>("nothing").empty());
  BOOST_TEST((file.at("floats").shape == std::vector<std::int64_t>{2, 3}));
  BOOST_TEST(file.metadata().at("note") == "a\nb");
  BOOST_TEST(file.find("none") == nullptr);
  for (const auto& entry : file.entries())
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(entry.bytes.data()) % lodestone::size_of(entry.type) == 0U);
  const std::byte* first = file.entries().front().bytes.data();
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(first) % safetensors::data_alignment == 0U);

  BOOST_CHECK_THROW((void)file.at("none"), format_error);
  BOOST_CHECK_THROW((void)file.values<float>(name), format_error);
  safetensors::file moved = std::move(file);
  BOOST_TEST(moved.values<double>(name)[1] == -2.5);
}

BOOST_AUTO_TEST_CASE(an_unfinished_or_overfull_file_never_appears) {
  const temporary_folder folder;
  const auto out = folder / "x.safetensors";
  const std::vector<float> values(4);
  {
    safetensors::writer writer(out, {{"a", dtype::f32, {4}}});
    BOOST_CHECK_THROW(writer.commit(), format_error);
    writer.write_values<float>(std::span(values).first(3));
    BOOST_CHECK_THROW(writer.commit(), format_error);
  }
  {
    safetensors::writer writer(out, {{"a", dtype::f32, {3}}});
    BOOST_CHECK_THROW(writer.write_values<float>(values), format_error);
  }
  BOOST_TEST(std::filesystem::is_empty(folder.path()));
}

BOOST_AUTO_TEST_CASE(impossible_declarations_are_refused) {
  const temporary_folder folder;
  const auto out = folder / "x.safetensors";
  using list = std::vector<safetensors::declaration>;
  BOOST_CHECK_THROW(safetensors::writer(out, list{{"a", dtype::f32, {1}}, {"a", dtype::f32, {1}}}), format_error);
  BOOST_CHECK_THROW(safetensors::writer(out, list{{"__metadata__", dtype::f32, {1}}}), format_error);
  BOOST_CHECK_THROW(safetensors::writer(out, list{{"\xff", dtype::f32, {1}}}), format_error);
  BOOST_CHECK_THROW(safetensors::writer(out, list{{"a", dtype::f32, {-1}}}), lodestone::shape_error);
  BOOST_CHECK_THROW(safetensors::writer(out, list{{"a", dtype::f32, {std::int64_t{1} << 62, 2}}}),
                    lodestone::shape_error);
  BOOST_CHECK_THROW(safetensors::writer(out, list{{"a", dtype::f64, {std::int64_t{1} << 62}}}), lodestone::shape_error);
  BOOST_CHECK_THROW(safetensors::writer(folder / "no/x.safetensors", list{}), lodestone::io_error);
  BOOST_TEST(std::filesystem::is_empty(folder.path()));
  safetensors::writer empty(out, list{});
  empty.commit();
  BOOST_TEST(safetensors::file(out).entries().empty());
}

BOOST_AUTO_TEST_CASE(misaligned_data_of_other_writers_is_not_given_as_values) {
  const temporary_folder folder;
  std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  while ((8 + header.size()) % 4 != 1) header += ' ';
  write_file(folder / "x.safetensors", image(header, 8));
  const safetensors::file file(folder / "x.safetensors");
  BOOST_TEST(file.at("a").bytes.size() == 8U);
  BOOST_CHECK_THROW((void)file.values<float>("a"), format_error);
}

BOOST_AUTO_TEST_SUITE_END()
