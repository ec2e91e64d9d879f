#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <lodestone/checkpoint/convert.hpp>
#include <lodestone/checkpoint/pretrained.hpp>
#include <lodestone/checkpoint/pretrained_writer.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/model/config_edit.hpp>
#include <lodestone/model/config_json.hpp>

#include "../support/support.hpp"

namespace {

namespace fs = std::filesystem;
using lodestone::dtype;
using lodestone::export_options;
using lodestone::format_error;
using lodestone::io_error;
using lodestone::model_config;
using lodestone::pretrained_writer;
using lodestone::tensor_source;
using lodestone_test::data;
using lodestone_test::read_file;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;
namespace safetensors = lodestone::safetensors;

template <class Function>
std::string message(const Function& function) {
  try {
    function();
  } catch (const lodestone::error& failure) {
    return failure.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void write_tensors(const fs::path& file, const std::vector<std::pair<std::string, std::vector<float>>>& tensors) {
  std::vector<safetensors::declaration> declarations;
  for (const auto& [name, values] : tensors)
    declarations.push_back({name, dtype::f32, {static_cast<std::int64_t>(values.size())}});
  safetensors::writer writer(file, declarations);
  for (const auto& [name, values] : tensors) writer.write_values<float>(values);
  writer.commit();
}

float first(const tensor_source& source, const std::string& name) {
  std::vector<float> values(source.at(name).bytes.size() / 4);
  lodestone::convert_elements<float>(source.at(name), values);
  return values.at(0);
}

const char* config_text = R"({
  "architectures": ["LlamaForCausalLM"],
  "hidden_size": 8,
  "intermediate_size": 12,
  "num_hidden_layers": 2,
  "num_attention_heads": 2,
  "vocab_size": 10,
  "rope_theta": 10000.0,
  "torch_dtype": "float32",
  "unknown_key": [1, 2]
}
)";

/// Element j of tensor i.
float value(std::size_t i, std::size_t j) { return static_cast<float>(i) + static_cast<float>(j) / 64.0F; }

std::vector<float> elements(std::size_t i, const std::vector<std::int64_t>& shape) {
  std::vector<float> values(static_cast<std::size_t>(*safetensors::element_count(shape)));
  for (std::size_t j = 0; j < values.size(); ++j) values[j] = value(i, j);
  return values;
}

/// A source folder with everything but weights.
void write_source(const fs::path& folder) {
  write_file(folder / "config.json", config_text);
  write_file(folder / "tokenizer.json", "{ \"bytes\": \"as they are\r\n\" }");
  write_file(folder / "chat_template.jinja", "{{ messages }}\n\n");
  write_file(folder / "generation_config.json", "{\"eos_token_id\": 2}");
  write_file(folder / "modeling_custom.py", "# code\n");
  write_file(folder / "README.md", "about another model");
  write_file(folder / "model.safetensors", "old weights");
  fs::create_directory(folder / "additional_chat_templates");
  write_file(folder / "additional_chat_templates/tools.jinja", "tools");
}

template <class T>
void write_all(pretrained_writer& writer) {
  for (std::size_t i = 0; i < writer.tensors().size(); ++i) {
    const std::vector<float> values = elements(i, writer.tensors()[i].shape);
    const std::vector<T> converted(values.begin(), values.end());
    const std::span<const T> span(converted);
    writer.write(span.first(span.size() / 3));
    writer.write(span.subspan(span.size() / 3));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_pretrained)

BOOST_AUTO_TEST_CASE(every_form_of_weights_is_found) {
  const temporary_folder folder;
  const auto shards = [&](const std::string& name) {
    fs::create_directory(folder / name);
    write_tensors(folder / (name + "/model-00001-of-00002.safetensors"), {{"a", {1}}, {"b", {2}}});
    write_tensors(folder / (name + "/model-00002-of-00002.safetensors"), {{"c", {3}}});
  };
  fs::create_directory(folder / "single");
  write_tensors(folder / "single/model.safetensors", {{"b", {2}}, {"a", {1, 5}}});
  const tensor_source single(folder / "single");
  BOOST_TEST(single.names() == (std::vector<std::string>{"a", "b"}), boost::test_tools::per_element());
  BOOST_TEST(single.byte_count() == 12U);
  BOOST_TEST(first(tensor_source(folder / "single/model.safetensors"), "b") == 2);

  shards("numbered");
  BOOST_TEST(first(tensor_source(folder / "numbered"), "c") == 3);
  shards("indexed");
  write_file(folder / "indexed/model.safetensors.index.json",
             R"({"metadata": {"total_size": 12}, "weight_map": {"a": "model-00001-of-00002.safetensors",
                 "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}})");
  tensor_source indexed(folder / "indexed");
  const tensor_source moved = std::move(indexed);
  BOOST_TEST(first(moved, "b") == 2);

  fs::create_directory(folder / "pickled");
  fs::copy_file(data("checkpoint/state_dict.bin"), folder / "pickled/pytorch_model.bin");
  BOOST_TEST(tensor_source(folder / "pickled").names().size() == 4U);
  fs::create_directory(folder / "pickled_shards");
  fs::copy_file(data("checkpoint/state_dict.bin"), folder / "pickled_shards/pytorch_model-00001-of-00002.bin");
  fs::copy_file(data("checkpoint/protocol_4.bin"), folder / "pickled_shards/pytorch_model-00002-of-00002.bin");
  BOOST_TEST(tensor_source(folder / "pickled_shards").names().size() == 5U);
  write_file(folder / "pickled_shards/pytorch_model.bin.index.json",
             R"({"weight_map": {"a": "pytorch_model-00002-of-00002.bin"}})");
  BOOST_TEST(tensor_source(folder / "pickled_shards").names().size() == 1U);
  // safetensors first, where both are there
  write_tensors(folder / "pickled/model.safetensors", {{"x", {1}}});
  BOOST_TEST(tensor_source(folder / "pickled").names().size() == 1U);
}

BOOST_AUTO_TEST_CASE(broken_folders_are_explained) {
  const temporary_folder folder;
  const auto reason = [&] { return message([&] { const tensor_source source(folder.path()); }); };
  BOOST_TEST(contains(message([&] { const tensor_source source(folder / "none"); }), "no such folder"));
  BOOST_TEST(contains(reason(), "holds no model.safetensors"));
  write_tensors(folder / "model-00001-of-00003.safetensors", {{"a", {1}}});
  write_tensors(folder / "model-00003-of-00003.safetensors", {{"b", {1}}});
  BOOST_TEST(contains(reason(), "2 of 3 files"), reason());
  write_tensors(folder / "model-00002-of-00003.safetensors", {{"a", {1}}});
  BOOST_TEST(contains(reason(), "'a' is in another file too"), reason());
  write_tensors(folder / "model-00001-of-00001.safetensors", {{"a", {1}}});
  BOOST_TEST(contains(reason(), "two different sets"), reason());

  const auto index = folder / "model.safetensors.index.json";
  write_file(index, R"({"weight_map": {"a": "model-00009-of-00009.safetensors"}})");
  BOOST_TEST(contains(reason(), "'model-00009-of-00009.safetensors' is missing"), reason());
  write_file(index, R"({"weight_map": {"z": "model-00001-of-00003.safetensors"}})");
  BOOST_TEST(contains(reason(), "no tensor 'z'"), reason());
  for (const char* name : {"../x.safetensors", "/etc/passwd", "", "..", "a/b"}) {
    write_file(index, nlohmann::json{{"weight_map", {{"a", name}}}}.dump());
    BOOST_TEST(contains(reason(), "not a name within the folder"), reason());
  }
  for (const char* text :
       {"", "[]", "{}", R"({"weight_map": 3})", R"({"weight_map": {}})", R"({"weight_map": {"a": 3}})"}) {
    write_file(index, text);
    BOOST_TEST(!reason().empty());
  }
}

// Folders that transformers (or the published ChatGLM code) wrote: names and shapes follow from config.json alone.
BOOST_AUTO_TEST_CASE(the_weights_of_every_family_match_their_config) {
  int folders = 0;
  for (const auto& item : fs::directory_iterator(data("models"))) {
    if (!fs::exists(item.path() / "config.json")) continue;
    ++folders;
    BOOST_TEST_CONTEXT(item.path().filename().string()) {
      const std::string reason = message(
          [&] { lodestone::check_tensors(tensor_source(item.path()), lodestone::read_model_config(item.path())); });
      BOOST_TEST(reason.empty(), reason);
    }
  }
  BOOST_TEST(folders > 10);
}

BOOST_AUTO_TEST_CASE(one_message_names_all_that_is_missing_wrong_and_surplus) {
  const temporary_folder folder;
  safetensors::writer writer(folder / "model.safetensors", {{"good", dtype::f16, {2, 2}},
                                                            {"flat", dtype::f32, {4}},
                                                            {"whole", dtype::i32, {1}},
                                                            {"more", dtype::f32, {0}},
                                                            {"layer.rotary_emb.inv_freq", dtype::f32, {0}}});
  writer.write(std::vector<std::byte>(8 + 16 + 4));
  writer.commit();
  const tensor_source source(folder.path());
  std::vector<lodestone::named_tensor> expected{{"good", {2, 2}}, {"flat", {2, 2}}, {"whole", {1}}};
  for (int i = 0; i < 12; ++i) expected.push_back({"missing." + std::to_string(i), {1}});
  const std::string text = message([&] {
    lodestone::check_tensors(source, expected, [](std::string_view name) { return name.ends_with("inv_freq"); });
  });
  for (const char* part : {"missing (12)", "missing.9", "...", "wrong (2)", "flat is [4] instead of [2, 2]",
                           "whole has the element type I32", "surplus (1)", "more"})
    BOOST_TEST(contains(text, part), part << " in " << text);
  BOOST_TEST(!contains(text, "missing.10"));
  BOOST_TEST(!contains(text, "inv_freq"));
  BOOST_TEST(!contains(text, "good"));
}

BOOST_AUTO_TEST_CASE(elements_are_converted_exactly_or_rounded_once) {
  const std::vector<float> values{0.0F,     -0.0F, 1.0F,     1.0F / 3.0F,
                                  65504.0F, 1e-7F, -3.0e38F, std::numeric_limits<float>::infinity()};
  for (const dtype type : {dtype::f64, dtype::f32, dtype::f16, dtype::bf16}) {
    std::vector<std::byte> stored;
    lodestone::store_elements<float>(values, type, stored);
    BOOST_TEST(stored.size() == values.size() * lodestone::size_of(type));
    stored.insert(stored.begin(), std::byte{0});  // at an odd address, as files of others may have it
    const safetensors::entry entry{"x", type, {static_cast<std::int64_t>(values.size())}, std::span(stored).subspan(1)};
    std::vector<float> back(values.size());
    lodestone::convert_elements<float>(entry, back);
    std::vector<double> wide(values.size());
    lodestone::convert_elements<double>(entry, wide);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float expected = type == dtype::f16    ? static_cast<float>(lodestone::f16(values[i]))
                             : type == dtype::bf16 ? static_cast<float>(lodestone::bf16(values[i]))
                                                   : values[i];
      BOOST_TEST(back[i] == expected);
      BOOST_TEST(std::signbit(back[i]) == std::signbit(values[i]));
      BOOST_TEST(wide[i] == static_cast<double>(expected));
    }
    std::vector<float> fewer(3);
    BOOST_CHECK_THROW(lodestone::convert_elements<float>(entry, fewer), lodestone::shape_error);
  }
  const std::vector<double> third{1.0 / 3.0};
  std::vector<std::byte> stored;
  lodestone::store_elements<double>(third, dtype::f64, stored);
  double back = 0;
  lodestone::convert_elements<double>({"x", dtype::f64, {1}, stored}, std::span(&back, 1));
  BOOST_TEST(back == third[0]);
  BOOST_CHECK_THROW(lodestone::convert_elements<double>({"x", dtype::i64, {1}, stored}, std::span(&back, 1)),
                    format_error);
  BOOST_CHECK_THROW(lodestone::store_elements<double>(third, dtype::u8, stored), format_error);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(checkpoint_pretrained_writer)

BOOST_AUTO_TEST_CASE(a_folder_goes_out_and_comes_back) {
  const temporary_folder folder;
  fs::create_directory(folder / "in");
  write_source(folder / "in");
  model_config config = lodestone::read_model_config(folder / "in");
  lodestone::rope_override change;
  change.base = 1e5;
  config = lodestone::with_rope_override(config, change);

  for (const std::uint64_t shard_bytes : {std::uint64_t{5'000'000'000}, std::uint64_t{1'000}, std::uint64_t{1}}) {
    export_options options;
    options.type = shard_bytes == 1'000 ? dtype::bf16 : dtype::f32;
    options.shard_bytes = shard_bytes;
    const fs::path out = folder / ("out" + std::to_string(shard_bytes));
    pretrained_writer writer(out, folder / "in", config, options);
    if (shard_bytes == 1)
      write_all<double>(writer);
    else
      write_all<float>(writer);
    BOOST_TEST(!fs::exists(out));
    writer.commit();

    for (const char* name : {"tokenizer.json", "chat_template.jinja", "generation_config.json", "modeling_custom.py",
                             "additional_chat_templates/tools.jinja"})
      BOOST_TEST(read_file(out / name) == read_file(folder / "in" / name));
    BOOST_TEST(!fs::exists(out / "README.md"));
    BOOST_TEST(fs::exists(out / "model.safetensors") == (shard_bytes > 1'000));
    BOOST_TEST(fs::exists(out / "model.safetensors.index.json") == (shard_bytes <= 1'000));
    BOOST_TEST((lodestone::read_model_config(out) == config));
    const auto json = nlohmann::ordered_json::parse(read_file(out / "config.json"));
    BOOST_TEST(json["rope_theta"] == 1e5);
    BOOST_TEST(json["torch_dtype"] == (shard_bytes == 1'000 ? "bfloat16" : "float32"));
    BOOST_TEST(json["unknown_key"].dump() == "[1,2]");

    const tensor_source source(out);
    lodestone::check_tensors(source, config);
    const auto names = lodestone::tensor_names(config);
    std::size_t total = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const safetensors::entry& entry = source.at(names[i].name);
      BOOST_TEST((entry.type == options.type));
      const auto expected = elements(i, names[i].shape);
      std::vector<float> values(expected.size());
      lodestone::convert_elements<float>(entry, values);
      total += entry.bytes.size();
      for (std::size_t j = 0; j < values.size(); ++j)
        BOOST_TEST(values[j] ==
                   (shard_bytes == 1'000 ? static_cast<float>(lodestone::bf16(expected[j])) : expected[j]));
    }
    if (shard_bytes > 1'000) continue;
    const auto index = nlohmann::json::parse(read_file(out / "model.safetensors.index.json"));
    BOOST_TEST(index["metadata"]["total_size"] == total);
    BOOST_TEST(index["weight_map"].size() == names.size());
    std::size_t shards = 0;
    for (const auto& item : fs::directory_iterator(out))
      if (item.path().extension() == ".safetensors") {
        ++shards;
        const safetensors::file file(item.path());
        BOOST_TEST(file.metadata().at("format") == "pt");
        if (shard_bytes == 1) BOOST_TEST(file.entries().size() == 1U);
      }
    BOOST_TEST(shards > 1U);
    if (shard_bytes == 1) BOOST_TEST(shards == names.size());
  }
}

BOOST_AUTO_TEST_CASE(a_tied_model_may_lie_under_the_heads_name) {
  const temporary_folder folder;
  model_config config = lodestone::parse_model_config(config_text);
  config.tied_head = true;
  auto names = lodestone::tensor_names(config);
  names.front().name = "lm_head.weight";
  std::vector<safetensors::declaration> declarations;
  for (const auto& tensor : names) declarations.push_back({tensor.name, dtype::f32, tensor.shape});
  safetensors::writer writer(folder / "model.safetensors", declarations);
  for (std::size_t i = 0; i < names.size(); ++i) writer.write_values<float>(elements(i, names[i].shape));
  writer.commit();
  const tensor_source source(folder.path());
  BOOST_TEST(message([&] { lodestone::check_tensors(source, config); }).empty());
  BOOST_TEST((lodestone::tensor_names_in(source, config) == names));
  config.tied_head = false;
  BOOST_TEST(contains(message([&] { lodestone::check_tensors(source, config); }), "model.embed_tokens.weight"));
}

BOOST_AUTO_TEST_CASE(existing_folders_are_safe) {
  const temporary_folder folder;
  fs::create_directory(folder / "in");
  write_source(folder / "in");
  const model_config config = lodestone::read_model_config(folder / "in");
  fs::create_directory(folder / "out");
  BOOST_TEST(
      contains(message([&] { pretrained_writer writer(folder / "out", folder / "in", config); }), "exists already"));
  export_options options;
  options.existing = lodestone::existing_folder::replace;
  write_file(folder / "out/diary.txt", "precious");
  BOOST_TEST(contains(message([&] { pretrained_writer writer(folder / "out", folder / "in", config, options); }),
                      "no model folder"));
  write_file(folder / "out/config.json", "{}");
  pretrained_writer writer(folder / "out", folder / "in", config, options);
  write_all<float>(writer);
  writer.commit();
  BOOST_TEST(!fs::exists(folder / "out/diary.txt"));
  BOOST_TEST(tensor_source(folder / "out").names().size() == lodestone::tensor_names(config).size());
  // in place: the folder that is read is the folder that is replaced
  pretrained_writer in_place(folder / "out", folder / "out", config, options);
  write_all<float>(in_place);
  in_place.commit();
  BOOST_TEST(read_file(folder / "out/tokenizer.json") == read_file(folder / "in/tokenizer.json"));
}

BOOST_AUTO_TEST_CASE(what_is_not_complete_never_appears) {
  const temporary_folder folder;
  fs::create_directory(folder / "in");
  write_source(folder / "in");
  const model_config config = lodestone::read_model_config(folder / "in");
  const auto listing = [&] { return std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()); };
  {
    pretrained_writer writer(folder / "out", folder / "in", config);
    BOOST_CHECK_THROW(writer.commit(), format_error);
  }
  {
    pretrained_writer writer(folder / "out", folder / "in", config);
    write_all<float>(writer);
    const std::array<float, 1> more{1.0F};
    BOOST_CHECK_THROW(writer.write<float>(more), format_error);
  }
  {
    model_config other = config;
    other.heads = 4;
    BOOST_CHECK_THROW(pretrained_writer(folder / "out", folder / "in", other), lodestone::config_error);
  }
  {  // a full disk
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit limit{2'000, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string text = message([&] {
      pretrained_writer writer(folder / "out", folder / "in", config);
      write_all<float>(writer);
      writer.commit();
    });
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    BOOST_TEST(contains(text, "cannot write"), text);
    BOOST_TEST(contains(text, "model.safetensors"), text);
  }
  BOOST_TEST(listing() == 1);
  BOOST_TEST(!fs::exists(folder / "out"));
}

BOOST_AUTO_TEST_CASE(a_killed_export_leaves_no_folder_of_that_name_or_a_whole_one) {
  const temporary_folder folder;
  fs::create_directory(folder / "in");
  write_source(folder / "in");
  const model_config config = lodestone::read_model_config(folder / "in");
  const auto export_once = [&] {
    pretrained_writer writer(folder / "out", folder / "in", config);
    write_all<float>(writer);
    writer.commit();
  };
  const auto begin = std::chrono::steady_clock::now();
  export_once();
  const auto one = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  int whole = 0;
  constexpr int rounds = 20;  // the kills spread over three times what an export takes; the last child is left alone
  for (int round = 0; round <= rounds; ++round) {
    fs::remove_all(folder / "out");
    const pid_t child = fork();
    if (child == 0) {
      try {
        export_once();
        _exit(0);
      } catch (...) {
      }
      _exit(1);
    }
    if (round < rounds) {
      usleep(static_cast<useconds_t>(std::min<std::int64_t>(3 * one.count() * round / rounds, 200'000)));
      kill(child, SIGKILL);
    }
    waitpid(child, nullptr, 0);
    if (!fs::exists(folder / "out")) continue;
    ++whole;
    BOOST_TEST(message([&] { lodestone::check_tensors(tensor_source(folder / "out"), config); }).empty());
    BOOST_TEST(fs::exists(folder / "out/tokenizer.json"));
  }
  BOOST_TEST(whole > 0);
  lodestone::remove_abandoned(folder.path());
}

BOOST_AUTO_TEST_SUITE_END()
