#include <lodestone/position/rope.hpp>
#include <lodestone/position/rope_config.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "support/support.hpp"

using namespace lodestone;

namespace {

nlohmann::json oracle() {
  return nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("rope") / "frequencies.json"));
}

rope_config config_of(const nlohmann::json& test) {
  const nlohmann::json& settings = test["settings"];
  const std::string kind = test["kind"];
  rope_config config;
  config.base = test["base"];
  config.dimensions = test["dimensions"];
  config.max_positions = test["max_positions"];
  config.scaling = kind == "linear"    ? rope_scaling_kind::linear
                   : kind == "dynamic" ? rope_scaling_kind::dynamic_ntk
                   : kind == "yarn"    ? rope_scaling_kind::yarn
                   : kind == "llama3"  ? rope_scaling_kind::llama3
                                       : rope_scaling_kind::none;
  config.factor = settings.value("factor", 1.0);
  config.original_max_positions = settings.value("original_max_position_embeddings", std::int64_t{0});
  config.low_frequency_factor = settings.value("low_freq_factor", 1.0);
  config.high_frequency_factor = settings.value("high_freq_factor", 4.0);
  config.beta_fast = settings.value("beta_fast", 32.0);
  config.beta_slow = settings.value("beta_slow", 1.0);
  config.truncate = settings.value("truncate", true);
  if (settings.contains("attention_factor")) config.attention_factor = settings["attention_factor"].get<double>();
  if (settings.contains("mscale")) config.mscale = settings["mscale"].get<double>();
  if (settings.contains("mscale_all_dim")) config.mscale_all_dimensions = settings["mscale_all_dim"].get<double>();
  return config;
}

rope_config plain(std::int64_t dimensions, double base = 10'000.0) {
  rope_config config;
  config.dimensions = dimensions;
  config.base = base;
  return config;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(position_rope)

// transformers computes its tables in float32, so 1e-6 relative is what its numbers are good for.
BOOST_AUTO_TEST_CASE(frequencies_and_attention_factors_equal_transformers) {
  const nlohmann::json cases = oracle()["cases"];
  BOOST_TEST(cases.size() == 21U);
  for (const nlohmann::json& test : cases) {
    const rope_config config = config_of(test);
    for (const nlohmann::json& row : test["rows"]) {
      BOOST_TEST_CONTEXT(test["name"].get<std::string>() << " at length " << row["length"]) {
        const auto expected = row["inverse_frequencies"].get<std::vector<double>>();
        const std::vector<double> computed = position::inverse_frequencies(config, row["length"]);
        BOOST_TEST_REQUIRE(computed.size() == expected.size());
        double worst = 0.0;
        for (std::size_t i = 0; i < expected.size(); ++i)
          worst = std::max(worst, std::abs(computed[i] - expected[i]) / expected[i]);
        BOOST_TEST(worst < 1e-6);
        const double scaling = row["attention_scaling"];
        BOOST_TEST(std::abs(position::attention_scaling(config) - scaling) < 1e-12 * scaling);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(angles_stay_accurate_past_a_million_positions) {
  const nlohmann::json table = oracle()["table"];
  const rope_config config = plain(table["dimensions"], table["base"]);
  std::vector<std::int32_t> positions;
  for (const nlohmann::json& row : table["rows"]) positions.push_back(row["position"]);
  const std::vector<std::int64_t> lengths(positions.size(), 1);
  const rope_table<float> computed = make_rope_table<float>(config, positions, lengths);
  for (std::size_t r = 0; r < positions.size(); ++r) {
    for (std::size_t i = 0; i < 4; ++i) {
      // Both round the frequency to float; powf may differ in the last bit, which an id of 2e9 turns into radians.
      const double tolerance = 1e-7 + 2.0 * static_cast<double>(positions[r]) * 6e-8 *
                                          position::inverse_frequencies(config)[i] * (i == 0 ? 0.0 : 1.0);
      const auto row = static_cast<std::int64_t>(r);
      const auto column = static_cast<std::int64_t>(i);
      BOOST_TEST(std::abs(static_cast<double>(computed.cosine.view()(row, column)) -
                          table["rows"][r]["cosine"][i].get<double>()) < tolerance);
      BOOST_TEST(std::abs(static_cast<double>(computed.sine.view()(row, column)) -
                          table["rows"][r]["sine"][i].get<double>()) < tolerance);
    }
  }
}

// cos(a + b) = cos a cos b - sin a sin b, with ids a and b = 2^20 and frequencies that double holds exactly.
BOOST_AUTO_TEST_CASE(double_tables_obey_the_addition_theorem) {
  const std::vector<std::int32_t> positions{1, 1 << 20, (1 << 20) + 1};
  const std::vector<std::int64_t> lengths(3, 3);
  const rope_table<double> table = make_rope_table<double>(plain(64, 2e6), positions, lengths);
  const auto cosine = table.cosine.view();
  const auto sine = table.sine.view();
  for (std::int64_t i = 0; i < 32; ++i)
    BOOST_TEST(std::abs(cosine(0, i) * cosine(1, i) - sine(0, i) * sine(1, i) - cosine(2, i)) < 1e-9);
}

BOOST_AUTO_TEST_CASE(dynamic_scaling_follows_the_length_of_each_row) {
  rope_config config = plain(16);
  config.scaling = rope_scaling_kind::dynamic_ntk;
  config.factor = 2.0;
  config.max_positions = 8;
  const std::vector<std::int32_t> positions{3, 3, 3, 3};
  const std::vector<std::int64_t> lengths{4, 8, 32, 4};
  const rope_table<double> mixed = make_rope_table<double>(config, positions, lengths);
  for (std::int64_t row = 0; row < 4; ++row) {
    const rope_table<double> alone = make_rope_table<double>(
        config, std::span(positions).subspan(0, 1), std::span(lengths).subspan(static_cast<std::size_t>(row), 1));
    for (std::int64_t i = 0; i < 8; ++i) BOOST_TEST(mixed.cosine.view()(row, i) == alone.cosine.view()(0, i));
  }
  BOOST_TEST(mixed.cosine.view()(0, 5) == mixed.cosine.view()(1, 5));  // both within the trained length
  BOOST_TEST(mixed.cosine.view()(0, 5) != mixed.cosine.view()(2, 5));
}

BOOST_AUTO_TEST_CASE(attention_scaling_multiplies_both_tables) {
  rope_config config = plain(8);
  config.scaling = rope_scaling_kind::yarn;
  config.factor = 4.0;
  config.original_max_positions = 64;
  const double scaling = position::attention_scaling(config);
  BOOST_TEST(std::abs(scaling - (0.1 * std::log(4.0) + 1.0)) < 1e-15);
  const std::vector<std::int32_t> positions{5};
  const std::vector<std::int64_t> lengths{6};
  const rope_table<double> table = make_rope_table<double>(config, positions, lengths);
  for (std::int64_t i = 0; i < 4; ++i)
    BOOST_TEST(std::abs(std::hypot(table.cosine.view()(0, i), table.sine.view()(0, i)) - scaling) < 1e-14);
}

BOOST_AUTO_TEST_CASE(settings_and_shapes_that_make_no_sense_are_refused) {
  BOOST_CHECK_THROW(position::check(plain(7)), config_error);
  BOOST_CHECK_THROW(position::check(plain(0)), config_error);
  BOOST_CHECK_THROW(position::check(plain(8, 1.0)), config_error);
  rope_config config = plain(8);
  for (const auto kind : {rope_scaling_kind::dynamic_ntk, rope_scaling_kind::yarn, rope_scaling_kind::llama3}) {
    config.scaling = kind;
    BOOST_CHECK_THROW(position::check(config), config_error);  // the trained length is missing
  }
  config.scaling = rope_scaling_kind::linear;
  config.factor = 0.0;
  BOOST_CHECK_THROW(position::check(config), config_error);

  tensor<float, 2> small(extents<2>{{2, 4}});
  const std::vector<std::int32_t> positions{0, 1, 2};
  const std::vector<std::int64_t> lengths{3, 3, 3};
  BOOST_CHECK_THROW(fill_rope_table<float>(plain(8), positions, lengths, small.view(), small.view()), shape_error);
}

BOOST_AUTO_TEST_SUITE_END()
