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
          view.weight,
          view.group,
          view.role,
          view.prompt,
          view.reference,
          {view.chunks.begin(), view.chunks.end()}};
}

/// Answer `role` of a group behind a prompt of 5 tokens.
encoded_sequence answer(std::int64_t group, std::int32_t role, std::int32_t length = 9) {
  encoded_sequence result = example(static_cast<std::int32_t>(group), length, 1.0 + role);
  for (std::size_t r = 5; r < result.tokens.size(); ++r) result.tokens[r] += role;
  result.group = group;
  result.role = role;
  result.prompt = 5;
  if (group % 2 == 0) result.reference = -0.25 * role;
  if (group % 3 != 0) result.chunks = {1, 3, 4};
  return result;
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

BOOST_AUTO_TEST_CASE(preferences_round_trip) {
  const temporary_folder folder;
  std::vector<encoded_sequence> examples;
  for (std::int64_t group = 0; group < 20; ++group)
    for (std::int32_t role = 0; role < 2 + group % 4; ++role) examples.push_back(answer(group, role, 7 + 2 * role));
  examples.insert(examples.begin() + 5, example(3, 12, 0.5));  // between two groups, alone
  in_memory_store memory;
  token_store_writer writer(folder / "a");
  for (const encoded_sequence& one : examples) {
    writer.add(one);
    memory.add(one);
  }
  writer.commit({});
  const token_store store(folder / "a");
  BOOST_REQUIRE(store.size() == static_cast<std::int64_t>(examples.size()));
  for (std::int64_t i = 0; i < store.size(); ++i) {
    BOOST_CHECK(copy(store[i]) == examples[static_cast<std::size_t>(i)]);
    BOOST_CHECK(copy(memory[i]) == examples[static_cast<std::size_t>(i)]);
  }
  BOOST_CHECK_NO_THROW(store.verify(100));
  // Data without preferences make the file that they always made.
  token_store_writer plain(folder / "b");
  plain.add(example(3, 12, 0.5));
  plain.commit({});
  const safetensors::file file(folder / "b");
  for (const char* name : {"groups", "roles", "prompts", "references", "chunks", "chunk_offsets"})
    BOOST_TEST(file.find(name) == nullptr);
  BOOST_TEST(token_store(folder / "b")[0].group == no_group);
}

BOOST_AUTO_TEST_CASE(verify_finds_damaged_preferences) {
  const temporary_folder folder;
  const auto verified = [&](const std::vector<encoded_sequence>& examples) {
    token_store_writer writer(folder / "a", true);
    for (const encoded_sequence& one : examples) writer.add(one);
    writer.commit({});
    return refusal([&] { token_store(folder / "a").verify(100); });
  };
  const auto changed = [](encoded_sequence one, const auto& change) {
    change(one);
    return one;
  };
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(verified({answer(1, 0), answer(1, 1), answer(2, 0), answer(2, 1)}) == "(no error)");
  BOOST_TEST(says(verified({answer(1, 0), answer(1, 2)}), "example 1: group 1 has role 2 at place 1"));
  BOOST_TEST(says(verified({answer(1, 1), answer(1, 0)}), "example 0: group 1 has role 1 at place 0"));
  BOOST_TEST(says(verified({answer(1, 0)}), "example 0: group 1 has no rejected answer"));
  BOOST_TEST(says(verified({answer(2, 0), answer(2, 1), answer(1, 0), answer(1, 1)}), "group 1 does not ascend"));
  BOOST_TEST(says(verified({answer(1, 0), answer(1, 1), answer(2, 0), answer(2, 1), answer(1, 0), answer(1, 1)}),
                  "example 4: group 1 does not ascend, or lies in two places"));
  BOOST_TEST(says(verified({answer(1, 0), changed(answer(1, 1), [](auto& one) { one.prompt = 4; })}),
                  "example 1: group 1 has prompts of different lengths"));
  BOOST_TEST(says(verified({answer(1, 0, 5), answer(1, 1, 5)}), "example 0: group 1 has a prompt of 5 tokens"));
  BOOST_TEST(says(verified({answer(1, 0), changed(answer(1, 1), [](auto& one) { one.tokens[4] = 0; })}),
                  "example 1: its prompt differs from that of the chosen answer"));
  BOOST_TEST(says(verified({answer(1, 0), changed(answer(1, 1),
                                                  [](auto& one) {
                                                    one.chunks = {1, 4};
                                                  })}),
                  "example 1: its prompt differs from that of the chosen answer"));
  for (const std::vector<std::int64_t>& wrong : {std::vector<std::int64_t>{-1, 2}, {3, 3}, {4, 10}})
    BOOST_TEST(says(verified({changed(example(1, 9, 1.0), [&](auto& one) { one.chunks = wrong; })}),
                    "example 0: its chunks do not ascend within it"));
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

BOOST_AUTO_TEST_CASE(files_with_damaged_preferences_are_no_store) {
  const temporary_folder folder;
  const auto store = [&](std::size_t roles, std::vector<std::int64_t> chunk_offsets) {
    const std::vector<std::int64_t> numbers(6, 0);
    const std::vector<double> reals(6, 1.0);
    const auto sized = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    safetensors::writer out(folder / "x",
                            {{"tokens", dtype::i32, {2}},
                             {"labels", dtype::i32, {2}},
                             {"weights", dtype::f32, {2}},
                             {"offsets", dtype::i64, {3}},
                             {"example_weights", dtype::f64, {2}},
                             {"groups", dtype::i64, {2}},
                             {"roles", dtype::i32, {sized(roles)}},
                             {"prompts", dtype::i64, {2}},
                             {"references", dtype::f64, {2}},
                             {"chunks", dtype::i64, {2}},
                             {"chunk_offsets", dtype::i64, {sized(chunk_offsets.size())}}},
                            {{"format", std::string(token_store_format)}});
    const std::vector<std::int32_t> ids(2, 1);
    const std::vector<float> weights(2, 0.0F);
    const std::vector<std::int64_t> offsets{0, 1, 2};
    const auto write = [&](const auto& values, std::size_t count) { out.write_values(std::span(values).first(count)); };
    write(ids, 2);
    write(ids, 2);
    write(weights, 2);
    write(offsets, 3);
    write(reals, 2);
    write(numbers, 2);
    write(ids, roles);
    write(numbers, 2);
    write(reals, 2);
    write(numbers, 2);
    write(chunk_offsets, chunk_offsets.size());
    out.commit();
    return refusal([&] { const token_store opened(folder / "x"); });
  };
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(store(2, {0, 0, 2}) == "(no error)");
  BOOST_TEST(says(store(1, {0, 0, 2}), "tensor 'roles': has not one value an example"));
  BOOST_TEST(says(store(2, {0, 2}), "tensor 'chunk_offsets': has not one value an example and one more"));
  BOOST_TEST(says(store(2, {1, 1, 2}), "tensor 'chunk_offsets': does not begin with 0"));
  BOOST_TEST(says(store(2, {0, 3, 2}), "tensor 'chunk_offsets': decreases"));
  BOOST_TEST(says(store(2, {0, 1, 1}), "tensor 'chunk_offsets': does not end at the last bound"));
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
