// Stores: what goes in comes out, damaged files are refused, and nothing half-written is ever left.
#include <boost/test/unit_test.hpp>

#include <lodestone/data/memory_store.hpp>
#include <lodestone/data/token_store.hpp>

#include "../support/support.hpp"
#include "../text/toy_tokenizer.hpp"

using namespace lodestone;
using lodestone_test::temporary_folder;

namespace {

encoded_sequence example(std::int32_t first, std::int32_t length, double weight) {
  encoded_sequence result;
  for (std::int32_t i = 0; i < length; ++i) {
    result.tokens.push_back(first + i);
    result.labels.push_back(i % 3 == 0 || i + 1 == length ? no_label : first + i + 1);
    result.weights.push_back(result.labels.back() == no_label ? 0.0F : 0.5F);
  }
  result.weight = weight;
  return result;
}

encoded_sequence copy(const example_view& view) {
  return {{view.tokens.begin(), view.tokens.end()},
          {view.labels.begin(), view.labels.end()},
          {view.weights.begin(), view.weights.end()},
          view.weight};
}

std::size_t files_in(const temporary_folder& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

template <class Action>
std::string refusal(const Action& action) {
  try {
    action();
  } catch (const error& failure) {
    return failure.what();
  }
  return "(no error)";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(data_token_store)

BOOST_AUTO_TEST_CASE(round_trip) {
  const temporary_folder folder;
  std::vector<encoded_sequence> examples;
  for (std::int32_t i = 0; i < 50; ++i) examples.push_back(example(i, i * i % 37, 0.25 * i));  // one is empty
  in_memory_store memory;
  {
    token_store_writer writer(folder / "a.tokens");
    for (std::size_t i = 0; i < examples.size(); ++i) {
      writer.add(examples[i], {static_cast<std::int64_t>(i % 2), static_cast<std::int64_t>(i) + 1});
      memory.add(examples[i], {static_cast<std::int64_t>(i % 2), static_cast<std::int64_t>(i) + 1});
    }
    BOOST_TEST(writer.size() == 50);
    BOOST_TEST(files_in(folder) == 0U);  // nothing has a name before commit, not even a temporary file
    writer.commit({{"template", "chatml"}});
  }
  BOOST_TEST(files_in(folder) == 1U);
  const token_store store(folder / "a.tokens");
  BOOST_REQUIRE(store.size() == 50);
  BOOST_TEST(store.total_tokens() == memory.total_tokens());
  BOOST_TEST(store.metadata().at("template") == "chatml");
  for (std::int64_t i = 0; i < store.size(); ++i) {
    BOOST_TEST(store[i].index == i);
    BOOST_TEST(store.length(i) == examples[static_cast<std::size_t>(i)].size());
    BOOST_CHECK(copy(store[i]) == examples[static_cast<std::size_t>(i)]);
    BOOST_CHECK(copy(memory[i]) == examples[static_cast<std::size_t>(i)]);
    BOOST_CHECK(store.origin(i) == memory.origin(i));
  }
  BOOST_CHECK_NO_THROW(store.verify(100));
  BOOST_TEST(refusal([&] { store.verify(60); }).find("outside a vocabulary of 60") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(bytes_are_the_same_every_time) {
  const temporary_folder folder;
  for (const char* name : {"a", "b"}) {
    token_store_writer writer(folder / name);
    for (std::int32_t i = 1; i < 2000; ++i) writer.add(example(i, 400, 1.0));  // several spill buffers
    writer.commit({});
  }
  BOOST_CHECK(lodestone_test::read_file(folder / "a") == lodestone_test::read_file(folder / "b"));
  const token_store store(folder / "a");
  BOOST_CHECK(copy(store[1998]) == example(1999, 400, 1.0));
}

BOOST_AUTO_TEST_CASE(an_empty_store_is_a_store) {
  const temporary_folder folder;
  token_store_writer(folder / "empty").commit({});
  BOOST_TEST(token_store(folder / "empty").size() == 0);
}

BOOST_AUTO_TEST_CASE(nothing_is_left_without_commit) {
  const temporary_folder folder;
  {
    token_store_writer writer(folder / "a");
    writer.add(example(1, 100'000, 1.0));
  }
  BOOST_TEST(files_in(folder) == 0U);
  lodestone_test::write_file(folder / "a", "mine");
  BOOST_CHECK_THROW(token_store_writer(folder / "a"), config_error);
  token_store_writer(folder / "a", true);  // replaced only by commit
  BOOST_TEST(lodestone_test::read_file(folder / "a") == "mine");
  BOOST_CHECK_THROW(token_store_writer(folder / "no" / "folder"), io_error);
  token_store_writer writer(folder / "b");
  encoded_sequence uneven = example(1, 4, 1.0);
  uneven.labels.pop_back();
  BOOST_CHECK_THROW(writer.add(uneven), shape_error);
  BOOST_CHECK_THROW(in_memory_store().add(uneven), shape_error);
}

BOOST_AUTO_TEST_CASE(files_that_are_no_store) {
  const temporary_folder folder;
  const auto store = [&](std::vector<std::int64_t> offsets, std::size_t labels, std::string_view format) {
    const std::vector<std::int32_t> tokens(6, 1);
    const std::vector<float> weights(6, 0.0F);
    const std::vector<double> example_weights(2, 1.0);
    safetensors::writer out(folder / "x",
                            {{"tokens", dtype::i32, {6}},
                             {"labels", dtype::i32, {static_cast<std::int64_t>(labels)}},
                             {"weights", dtype::f32, {6}},
                             {"offsets", dtype::i64, {static_cast<std::int64_t>(offsets.size())}},
                             {"example_weights", dtype::f64, {2}}},
                            {{"format", std::string(format)}});
    out.write_values(std::span<const std::int32_t>(tokens));
    out.write_values(std::span<const std::int32_t>(tokens).first(labels));
    out.write_values(std::span<const float>(weights));
    out.write_values(std::span<const std::int64_t>(offsets));
    out.write_values(std::span<const double>(example_weights));
    out.commit();
    return refusal([&] { const token_store opened(folder / "x"); });
  };
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(store({0, 2, 6}, 6, token_store_format) == "(no error)");
  BOOST_TEST(says(store({0, 2, 6}, 6, "something else"), "not a token store; make one with"));
  BOOST_TEST(says(store({1, 2, 6}, 6, token_store_format), "tensor 'offsets': does not begin with 0"));
  BOOST_TEST(says(store({0, 7, 6}, 6, token_store_format), "tensor 'offsets': decreases"));
  BOOST_TEST(says(store({0, 2, 5}, 6, token_store_format), "tensor 'offsets': does not end"));
  BOOST_TEST(says(store({0, 6}, 6, token_store_format), "tensor 'example_weights': has not one"));
  BOOST_TEST(says(store({0, 2, 6}, 5, token_store_format), "tensor 'labels': has another length"));
  lodestone_test::write_file(folder / "y", "not safetensors at all");
  BOOST_TEST(refusal([&] { const token_store opened(folder / "y"); }) != "(no error)");
  BOOST_CHECK_THROW(token_store(folder / "z"), io_error);
}

BOOST_AUTO_TEST_CASE(selections) {
  in_memory_store memory;
  for (std::int32_t i = 0; i < 4; ++i) memory.add(example(10 * i, 3, 1.0));
  const selected_store selected(memory, {3, 1, 1});
  BOOST_TEST(selected.size() == 3);
  BOOST_TEST(selected[0].tokens[0] == 30);
  BOOST_TEST(selected[2].tokens[0] == 10);
  BOOST_TEST(selected[2].index == 2);  // a repeated example has random numbers of its own
  BOOST_TEST(selected.source(2) == 1);
  BOOST_CHECK_THROW(selected_store(memory, {4}), shape_error);
}

BOOST_AUTO_TEST_CASE(fingerprints) {
  using lodestone_test::toy_tokenizer;
  const std::string one = tokenizer_fingerprint(toy_tokenizer({"<s>", "</s>"}));
  BOOST_TEST(one.size() == 16U);
  BOOST_TEST(one == tokenizer_fingerprint(toy_tokenizer({"<s>", "</s>"})));
  BOOST_TEST(one != tokenizer_fingerprint(toy_tokenizer({"</s>", "<s>"})));
  BOOST_TEST(one != tokenizer_fingerprint(toy_tokenizer({"<s>", "</s>"}, {0})));
  BOOST_TEST(one != tokenizer_fingerprint(toy_tokenizer({"<s>", "</s>"}, {}, true)));
  const temporary_folder folder;
  token_store_writer writer(folder / "a");
  writer.commit({{"tokenizer", one}});
  const token_store store(folder / "a");
  BOOST_CHECK_NO_THROW(store.require_tokenizer(one));
  BOOST_CHECK_THROW(store.require_tokenizer("0123456789abcdef"), config_error);
}

BOOST_AUTO_TEST_SUITE_END()
