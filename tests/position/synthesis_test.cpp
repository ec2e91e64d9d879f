#include <lodestone/position/layout.hpp>
#include <lodestone/position/logo.hpp>
#include <lodestone/position/pose.hpp>
#include <lodestone/position/randpos.hpp>
#include <lodestone/position/shared.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/random.hpp>
#include <lodestone/position/original.hpp>

using namespace lodestone;

namespace {

/// n tokens with the last `answer` of them as targets.
struct sample {
  sample(std::int64_t n, std::int64_t answer, std::int64_t index = 0)
      : tokens(static_cast<std::size_t>(n), 1),
        labels(static_cast<std::size_t>(n), no_label),
        weights(static_cast<std::size_t>(n), 0.0F),
        place(index) {
    for (std::int64_t row = n - answer - 1; answer > 0 && row + 1 < n; ++row) {
      labels[static_cast<std::size_t>(std::max<std::int64_t>(row, 0))] = 1;
      weights[static_cast<std::size_t>(std::max<std::int64_t>(row, 0))] = 1.0F;
    }
  }
  [[nodiscard]] example_view view() const {
    return {.tokens = tokens, .labels = labels, .weights = weights, .index = place, .chunks = chunks};
  }
  std::vector<std::int32_t> tokens, labels;
  std::vector<float> weights;
  std::int64_t place;
  std::vector<std::int64_t> chunks;
};

template <class Policy>
std::vector<std::int32_t> ids_of(const Policy& policy, const example_view& example, std::uint64_t seed = 1,
                                 std::uint64_t epoch = 0) {
  std::vector<std::int32_t> ids(example.tokens.size());
  policy.fill(example, seed, epoch, ids);
  return ids;
}

bool is_lawful(const std::vector<std::int32_t>& ids, std::int64_t window) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= window || (i > 0 && ids[i] <= ids[i - 1])) return false;
  return true;
}

bool is_block(std::span<const std::int32_t> ids) {
  for (std::size_t i = 1; i < ids.size(); ++i)
    if (ids[i] != ids[i - 1] + 1) return false;
  return true;
}

/// Every id of [low, high) that some sample of `epochs` epochs had, as a share.
template <class Policy>
double covered(const Policy& policy, const example_view& example, std::int64_t low, std::int64_t high,
               std::uint64_t epochs) {
  std::set<std::int32_t> seen;
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch)
    for (const std::int32_t id : ids_of(policy, example, 1, epoch))
      if (id >= low && id < high) seen.insert(id);
  return static_cast<double>(seen.size()) / static_cast<double>(high - low);
}

using any_fill = std::function<std::vector<std::int32_t>(const example_view&, std::uint64_t, std::uint64_t)>;

template <class Policy>
any_fill fill_with(Policy policy) {
  return [policy](const example_view& example, std::uint64_t seed, std::uint64_t epoch) {
    return ids_of(policy, example, seed, epoch);
  };
}

/// Every policy that draws, over a window.
std::vector<any_fill> policies(std::int64_t window, const position::layout_rule& rule) {
  using namespace position;
  std::vector<any_fill> all;
  for (const tail_place tail : {tail_place::adjacent, tail_place::far_end}) {
    all.push_back(fill_with(logo_continuous{window, tail, rule}));
    all.push_back(fill_with(logo_sparse{window, tail, rule}));
    all.push_back(fill_with(logo_mix{window, 0.5, tail, rule}));
  }
  all.push_back(fill_with(pose{window, 2}));
  all.push_back(fill_with(pose{window, 5}));
  all.push_back(fill_with(randpos{window}));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(position_synthesis)

BOOST_AUTO_TEST_CASE(a_layout_is_found_from_targets_or_given) {
  const position::layout_rule rule{.prefix = 3, .chunk = 10, .question = 4};
  sample with_answer(50, 6);
  const position::layout parts = rule.parts(with_answer.view(), 50);  // the answer is [44, 50), the question [40, 44)
  BOOST_TEST(parts.prefix == 3);
  const std::vector<std::int64_t> expected{10, 10, 10, 7};
  BOOST_TEST(parts.chunks == expected, boost::test_tools::per_element());
  BOOST_TEST(parts.tail == 10);
  BOOST_TEST(parts.context() == 37);

  const position::layout no_targets = rule.parts(sample(24, 0).view(), 24);
  BOOST_TEST(no_targets.tail == 0);
  BOOST_TEST(no_targets.context() == 21);
  const position::layout text = rule.parts(sample(24, 24).view(), 24);  // trained from its first row
  BOOST_TEST(text.tail == 0);
  BOOST_TEST(text.context() == 21);
  const position::layout short_prompt = rule.parts(sample(24, 20).view(), 24);  // nothing in front of the question
  BOOST_TEST(short_prompt.chunks.empty());
  BOOST_TEST(short_prompt.tail == 21);

  with_answer.chunks = {2, 12, 13, 40};
  const position::layout given = rule.parts(with_answer.view(), 50);
  const std::vector<std::int64_t> given_chunks{10, 1, 27};
  BOOST_TEST(given.prefix == 2);
  BOOST_TEST(given.chunks == given_chunks, boost::test_tools::per_element());
  BOOST_TEST(given.tail == 10);
  with_answer.chunks = {2, 27};  // a context, not divided
  const position::layout whole = rule.parts(with_answer.view(), 50);
  const std::vector<std::int64_t> cut_chunks{10, 10, 5};
  BOOST_TEST(whole.chunks == cut_chunks, boost::test_tools::per_element());
  BOOST_TEST(whole.tail == 23);
  for (const std::vector<std::int64_t>& wrong : {std::vector<std::int64_t>{2, 2}, {5, 4}, {-1, 3}, {10, 51}}) {
    with_answer.chunks = wrong;
    BOOST_CHECK_THROW(static_cast<void>(rule.parts(with_answer.view(), 50)), data_error);
  }
  BOOST_CHECK_THROW(static_cast<void>(position::layout_rule{.chunk = 0}.parts(sample(4, 1).view(), 4)), config_error);
}

BOOST_AUTO_TEST_CASE(ids_increase_strictly_within_the_window) {
  random_stream random(5, random_purpose::user);
  for (int round = 0; round < 200; ++round) {
    const auto below = [&](std::uint64_t bound) { return static_cast<std::int64_t>(random.below(bound)); };
    const std::int64_t n = 1 + below(300);
    sample example(n, below(static_cast<std::uint64_t>(n)), round);
    const position::layout_rule rule{.prefix = below(20), .chunk = 1 + below(60), .question = below(20)};
    if (round % 3 == 0)
      for (std::int64_t at = below(10); at <= n; at += 1 + below(50)) example.chunks.push_back(at);
    const std::int64_t window = n + (round % 5 == 0 ? 0 : below(4'000));  // no slack at all among them
    for (const any_fill& fill : policies(window, rule)) {
      const std::vector<std::int32_t> ids = fill(example.view(), 9, 2);
      BOOST_REQUIRE(is_lawful(ids, window));
      if (window == n) BOOST_REQUIRE(is_block(ids));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_window_may_reach_the_last_id_of_32_bits) {
  const sample example(1'000, 100);
  const std::int64_t window = std::int64_t{1} << 31;
  BOOST_TEST(is_lawful(ids_of(position::logo_continuous{window}, example.view()), window));
  const auto far = ids_of(position::logo_continuous{window, position::tail_place::far_end}, example.view());
  BOOST_TEST(is_lawful(far, window));
  BOOST_TEST(far.back() == 2'147'483'647);
  BOOST_TEST(is_lawful(ids_of(position::pose{window}, example.view()), window));
  BOOST_CHECK_THROW(ids_of(position::pose{window + 1}, example.view()), config_error);
  BOOST_CHECK_THROW(ids_of(position::randpos{0}, example.view()), config_error);
}

BOOST_AUTO_TEST_CASE(a_continuous_chunk_has_stride_1_and_a_sparse_one_gaps) {
  const sample example(8'192 + 64, 40);
  const position::layout_rule rule{.question = 24};
  for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
    const auto one_piece = ids_of(position::logo_continuous{65'536, {}, rule}, example.view(), 3, epoch);
    const auto sparse = ids_of(position::logo_sparse{65'536, {}, rule}, example.view(), 3, epoch);
    for (std::size_t j = 0; j < 16; ++j) {
      BOOST_REQUIRE(is_block(std::span(one_piece).subspan(j * 512, 512)));
      BOOST_REQUIRE(!is_block(std::span(sparse).subspan(j * 512, 512)));
    }
    BOOST_TEST(is_block(std::span(one_piece).subspan(8'192)));
    BOOST_TEST(is_block(std::span(sparse).subspan(8'192)));
  }
}

BOOST_AUTO_TEST_CASE(the_tail_follows_the_context_or_ends_the_window) {
  const sample example(300, 20);
  const position::layout_rule rule{.prefix = 7, .chunk = 50, .question = 10};
  for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
    const auto near = ids_of(position::logo_mix{2'000, 0.5, position::tail_place::adjacent, rule}, example.view(), 1,
                             epoch);
    const auto far = ids_of(position::logo_mix{2'000, 0.5, position::tail_place::far_end, rule}, example.view(), 1,
                            epoch);
    BOOST_TEST(near[270] == near[269] + 1);
    BOOST_TEST(far[270] == 2'000 - 30);
    BOOST_TEST(far.back() == 1'999);
    for (std::size_t i = 0; i < 270; ++i) BOOST_REQUIRE(near[i] == far[i]);  // the context does not depend on it
    BOOST_TEST(near[6] == 6);
  }
}

BOOST_AUTO_TEST_CASE(the_mix_is_nine_to_one) {
  int continuous = 0;
  for (std::int64_t index = 0; index < 10'000; ++index) {
    const sample example(40, 0, index);
    const auto ids = ids_of(position::logo_mix{4'096, 0.9, {}, {.chunk = 40}}, example.view());
    continuous += is_block(ids) ? 1 : 0;
  }
  BOOST_TEST(std::abs(continuous - 9'000) < 120);  // 4 standard deviations of 30
}

BOOST_AUTO_TEST_CASE(the_union_over_samples_covers_the_window) {
  using namespace position;
  const sample example(16 * 32 + 48, 24);
  const layout_rule rule{.chunk = 32, .question = 24};
  const std::int64_t window = 4'096;
  const std::int64_t tail = 48;
  // Continuous chunks reach the ends of a bin of 253 ids with 1 of 222 biases; 3,000 draws miss none in practice.
  BOOST_TEST(covered(logo_continuous{window, tail_place::adjacent, rule}, example.view(), 0, window - tail, 3'000) ==
             1.0);
  BOOST_TEST(covered(logo_sparse{window, tail_place::adjacent, rule}, example.view(), 0, window - tail, 400) == 1.0);
  BOOST_TEST(covered(logo_continuous{window, tail_place::adjacent, rule}, example.view(), 0, window, 3'000) == 1.0);
  BOOST_TEST(covered(logo_mix{window, 0.9, tail_place::far_end, rule}, example.view(), 0, window, 3'000) == 1.0);
  BOOST_TEST(covered(randpos{window}, example.view(), 0, window, 400) == 1.0);
  BOOST_TEST(covered(pose{window}, example.view(), 0, window, 4'000) == 1.0);
  // The paper's setting: 16 chunks of 512 tokens in 65,536 ids, 300 samples.
  const sample paper(8'192, 0);
  BOOST_TEST(covered(logo_continuous{}, paper.view(), 0, 65'536, 300) > 0.98);
}

BOOST_AUTO_TEST_CASE(the_context_is_uniform_over_its_bin) {
  // One chunk of 8 in a bin of 16: 9 places, each with probability 1/9; of a sparse chunk each id has probability 1/2.
  std::vector<int> places(9, 0), ids(16, 0), drawn(16, 0);
  const sample example(8, 0);
  for (std::uint64_t epoch = 0; epoch < 9'000; ++epoch) {
    ++places[static_cast<std::size_t>(ids_of(position::logo_continuous{16}, example.view(), 1, epoch).front())];
    for (const std::int32_t id : ids_of(position::logo_sparse{16}, example.view(), 1, epoch))
      ++ids[static_cast<std::size_t>(id)];
    for (const std::int32_t id : ids_of(position::randpos{16}, example.view(), 2, epoch))
      ++drawn[static_cast<std::size_t>(id)];
  }
  for (const int count : places) BOOST_TEST(std::abs(count - 1'000) < 150);  // 5 standard deviations of 30
  for (const int count : ids) BOOST_TEST(std::abs(count - 4'500) < 240);     // 5 standard deviations of 47
  for (const int count : drawn) BOOST_TEST(std::abs(count - 4'500) < 240);
}

BOOST_AUTO_TEST_CASE(pose_skips_between_its_chunks_only) {
  std::set<std::int32_t> biases, lengths;
  const sample example(64, 0);
  for (std::uint64_t epoch = 0; epoch < 2'000; ++epoch) {
    const auto ids = ids_of(position::pose{100}, example.view(), 1, epoch);
    BOOST_REQUIRE(ids.front() == 0);
    std::size_t cut = 1;
    while (cut < ids.size() && ids[cut] == ids[cut - 1] + 1) ++cut;
    if (cut < ids.size()) {
      BOOST_REQUIRE(is_block(std::span(ids).subspan(cut)));
      lengths.insert(static_cast<std::int32_t>(cut));
    }
    biases.insert(ids.back() - 63);
  }
  BOOST_TEST(biases.size() == 37U);  // u_1 in {0, ..., L_t - L_c}
  BOOST_TEST(*lengths.begin() == 1);
  BOOST_TEST(*lengths.rbegin() == 32);
  BOOST_TEST(is_block(ids_of(position::pose{100, 1}, example.view())));
  BOOST_CHECK_THROW(ids_of(position::pose{100, 0}, example.view()), config_error);
}

BOOST_AUTO_TEST_CASE(ids_depend_on_seed_epoch_and_example_alone) {
  for (const any_fill& fill : policies(4'096, {.chunk = 64})) {
    const sample example(500, 50, 11);
    const sample other(500, 50, 12);
    const auto ids = fill(example.view(), 1, 2);
    static_cast<void>(fill(other.view(), 8, 9));
    BOOST_TEST(fill(example.view(), 1, 2) == ids, boost::test_tools::per_element());
    BOOST_TEST((fill(example.view(), 2, 2) != ids));
    BOOST_TEST((fill(example.view(), 1, 3) != ids));
    BOOST_TEST((fill(other.view(), 1, 2) != ids));
  }
}

BOOST_AUTO_TEST_CASE(all_answers_of_a_prompt_have_the_same_ids) {
  sample prompt(400, 0, 5);
  const sample same_prompt_with_labels(400, 30, 5);
  const auto check = [&](const auto& policy) {
    const auto ids = position::prompt_ids(policy, prompt.view(), 90, 3, 1);
    BOOST_TEST(ids.size() == 490U);
    BOOST_TEST(is_lawful(ids, 4'096));
    // Labels of the prompt say nothing about it.
    BOOST_TEST(position::prompt_ids(policy, same_prompt_with_labels.view(), 90, 3, 1) == ids);
    return ids;
  };
  for (const position::tail_place tail : {position::tail_place::adjacent, position::tail_place::far_end}) {
    const position::layout_rule rule{.chunk = 64, .question = 16};
    for (const auto& ids : {check(position::logo_continuous{4'096, tail, rule}),
                            check(position::logo_sparse{4'096, tail, rule})}) {
      // Question and answer are one block, so any answer of up to 90 tokens continues the prompt without a gap.
      BOOST_TEST(is_block(std::span(ids).subspan(400 - 16)));
      if (tail == position::tail_place::far_end) BOOST_TEST(ids.back() == 4'095);
    }
  }
  check(position::randpos{4'096});
  check(position::pose{4'096});
  check(position::original_sparse{.window = 4'096, .reserve = 100, .rule = {.chunk = 64}});
  prompt.chunks = {10, 200, 380};
  const auto ids = position::prompt_ids(position::logo_continuous{4'096}, prompt.view(), 90, 3, 1);
  BOOST_TEST(ids[9] == 9);
  BOOST_TEST(is_block(std::span(ids).subspan(10, 190)));
  BOOST_TEST(is_block(std::span(ids).subspan(200, 180)));
  BOOST_TEST(is_block(std::span(ids).subspan(379)));
  BOOST_CHECK_THROW(static_cast<void>(position::prompt_ids(position::randpos{}, example_view{}, 3, 1, 0)), shape_error);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_an_error_that_names_the_example) {
  const sample example(200, 20, 17);
  for (const any_fill& fill : policies(199, {})) {
    const auto names_it = [](const config_error& failure) {
      return std::string(failure.what()).find("example 17 has 200 tokens") != std::string::npos;
    };
    BOOST_CHECK_EXCEPTION(fill(example.view(), 1, 0), config_error, names_it);
  }
  BOOST_CHECK_THROW(ids_of(position::logo_mix{1'000, 1.5}, example.view()), config_error);
}

BOOST_AUTO_TEST_CASE(ids_that_break_a_law_are_found) {
  const auto check = [](std::vector<std::int32_t> ids, std::int64_t window) { position::check_ids(ids, window); };
  BOOST_CHECK_NO_THROW(check({0, 2, 9}, 10));
  BOOST_CHECK_NO_THROW(check({}, 10));
  BOOST_CHECK_THROW(check({0, 2, 10}, 10), shape_error);
  BOOST_CHECK_THROW(check({0, 2, 2}, 10), shape_error);
  BOOST_CHECK_THROW(check({-1, 2, 3}, 10), shape_error);
}

BOOST_AUTO_TEST_SUITE_END()
