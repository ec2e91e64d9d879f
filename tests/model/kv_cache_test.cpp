// The cache of several sequences: its rooms against a list of rows; cached is uncached, together is alone.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/model/kv_cache.hpp>
#include <lodestone/model/llama.hpp>

#include "model/small_model.hpp"

using namespace lodestone;
using lodestone_test::small_config;
using lodestone_test::small_families;
using lodestone_test::small_store;

namespace {

using model = llama<host<double>, blocked_attention>;
using ids = std::vector<std::int32_t>;

ids random_ids(std::int64_t count, std::int64_t vocabulary, random_stream& random) {
  ids result;
  for (std::int64_t i = 0; i < count; ++i)
    result.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  return result;
}

/// Logits of the last of `tokens`, without a cache.
std::vector<double> uncached(model& m, std::span<const std::int32_t> tokens) {
  const token_batch batch = generate::continuation(tokens, 0, std::ssize(tokens));
  const std::int64_t last[] = {batch.size() - 1};
  const auto logits = m.logits(batch, last);
  const auto flat = logits.view().flat();
  return {flat.begin(), flat.end()};
}

double distance(std::span<const double> a, std::span<const double> b) {
  double most = a.size() == b.size() ? 0.0 : 1.0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(kv_cache_of_several)

BOOST_AUTO_TEST_CASE(rooms_never_overlap_and_a_gap_that_is_large_enough_is_found) {
  random_stream random(3, random_purpose::user);
  cache_rooms rooms(40);
  std::vector<int> rows(40, 0);  // taken?
  std::map<std::size_t, cache_room> open;
  int refused = 0;
  for (int turn = 0; turn < 2000; ++turn) {
    if (random.uniform() < 0.55 || open.empty()) {
      const auto wanted = static_cast<std::int64_t>(1 + random.below(12));
      std::int64_t largest = 0;
      std::int64_t run = 0;
      for (const int taken : rows) largest = std::max(largest, run = taken != 0 ? 0 : run + 1);
      const std::optional<std::size_t> name = rooms.open(wanted);
      BOOST_REQUIRE(name.has_value() == (largest >= wanted));
      if (!name) {
        ++refused;
        continue;
      }
      const cache_room room = rooms[*name];
      BOOST_REQUIRE(!open.contains(*name));
      BOOST_REQUIRE(room.capacity == wanted);
      BOOST_REQUIRE(room.length == 0);
      for (std::int64_t r = room.begin; r < room.begin + wanted; ++r)
        BOOST_REQUIRE(++rows.at(static_cast<std::size_t>(r)) == 1);
      open[*name] = room;
    } else {
      auto one = open.begin();
      std::advance(one, random.below(open.size()));
      for (std::int64_t r = one->second.begin; r < one->second.begin + one->second.capacity; ++r)
        --rows[static_cast<std::size_t>(r)];
      rooms.close(one->first);
      open.erase(one);
    }
    BOOST_REQUIRE(rooms.count() == std::ssize(open));
  }
  BOOST_TEST(refused > 100);
}

BOOST_AUTO_TEST_CASE(misuse_of_rooms_is_refused) {
  cache_rooms rooms(10);
  BOOST_CHECK_THROW(static_cast<void>(rooms.open(0)), shape_error);
  BOOST_CHECK_THROW(rooms.close(0), shape_error);
  BOOST_TEST(!rooms.open(11).has_value());
  const std::size_t one = *rooms.open(4);
  const std::size_t two = *rooms.open(6);
  rooms.grow(one, 3);
  BOOST_CHECK_THROW(rooms.grow(one, 2), shape_error);
  BOOST_CHECK_THROW(rooms.truncate(one, 4), shape_error);
  const std::vector<cache_part> twice{{two, 1}, {one, 1}, {two, 1}};
  BOOST_CHECK_THROW(rooms.check(twice), shape_error);
  const std::vector<cache_part> nothing{{two, 0}};
  BOOST_CHECK_THROW(rooms.check(nothing), shape_error);
  rooms.truncate(one, 1);
  rooms.grow(one, 3);
  rooms.close(one);
  BOOST_CHECK_THROW(static_cast<void>(rooms[one]), shape_error);

  const model_config config = small_config();
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  auto cache = m.make_cache(8);
  static_cast<void>(cache.rooms.open(8));
  const std::vector<cache_part> short_of_one{{0, 2}};
  const ids three{1, 2, 3};
  BOOST_CHECK_THROW(static_cast<void>(m.extend(cache, short_of_one, generate::continuation(three, 0, 8))), shape_error);
  BOOST_TEST(cache.rooms[0].length == 0);
}

// Random sequences enter, grow in random chunks together and leave; after every pass the logits of each part are those
// of the whole sequence without a cache, and those of a cache that holds it alone.
BOOST_AUTO_TEST_CASE(sequences_in_one_cache_are_the_sequences_alone) {
  for (const auto& [name, config] : small_families()) {
    auto weights = small_store<host<double>>(config, 2);
    model m(config, *weights);
    random_stream random(17, random_purpose::user);
    auto cache = m.make_cache(60);
    struct growing {
      std::size_t room;
      ids tokens;
      std::int64_t fed;
    };
    std::vector<growing> all;
    double worst = 0.0;
    int chunks = 0;
    int entered = 0;
    for (int turn = 0; turn < 40; ++turn) {
      for (int i = 0; i < 3; ++i) {
        const auto length = static_cast<std::int64_t>(1 + random.below(24));
        if (const auto room = cache.rooms.open(length)) {
          all.push_back({*room, random_ids(length, config.vocabulary, random), 0});
          ++entered;
        }
      }
      token_batch batch;
      std::vector<cache_part> parts;
      std::vector<std::size_t> whose;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (random.uniform() < 0.3) continue;
        const std::int64_t left = std::ssize(all[i].tokens) - all[i].fed;
        const auto most = static_cast<std::uint64_t>(std::min<std::int64_t>(left, 7));
        const auto count = static_cast<std::int64_t>(1 + random.below(most));
        chunks += count > 1 ? 1 : 0;
        const auto fresh = std::span(all[i].tokens).subspan(static_cast<std::size_t>(all[i].fed));
        generate::append(batch, fresh.first(static_cast<std::size_t>(count)), all[i].fed, std::ssize(all[i].tokens));
        parts.push_back({all[i].room, count});
        all[i].fed += count;
        whose.push_back(i);
      }
      if (parts.empty()) continue;
      const auto logits = m.extend(cache, parts, batch);
      BOOST_REQUIRE(logits.view().size(0) == std::ssize(parts));
      for (std::size_t k = 0; k < whose.size(); ++k) {
        const growing& one = all[whose[k]];
        const auto own = logits.view().flat().subspan(k * static_cast<std::size_t>(config.vocabulary),
                                                      static_cast<std::size_t>(config.vocabulary));
        const auto seen = std::span(one.tokens).first(static_cast<std::size_t>(one.fed));
        worst = std::max(worst, distance(own, uncached(m, seen)));
      }
      std::erase_if(all, [&](const growing& one) {
        const bool is_over = one.fed == std::ssize(one.tokens) || random.uniform() < 0.05;
        if (is_over) cache.rooms.close(one.room);
        return is_over;
      });
    }
    BOOST_TEST(worst < 1e-12, name);
    BOOST_TEST(chunks > 30);
    BOOST_TEST(entered > 20);
  }
}

BOOST_AUTO_TEST_CASE(a_truncated_sequence_goes_on_where_it_was_cut) {
  const model_config config = small_config();
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  auto cache = m.make_cache(12);
  const ids tokens{3, 1, 4, 1, 5, 9, 2, 6};
  static_cast<void>(m.extend(cache, generate::continuation(tokens, 0, 12)));
  cache.rooms.truncate(0, 5);
  const ids other{7, 8};
  const auto logits = m.extend(cache, generate::continuation(other, 5, 12));
  BOOST_TEST(distance(logits.view().flat(), uncached(m, ids{3, 1, 4, 1, 5, 7, 8})) < 1e-12);
}

BOOST_AUTO_TEST_SUITE_END()
