// Watched attention on the GPU: the keys that heads look at are those of the host.
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/observed.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/cuda/attention_reference.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/eval/retrieval_heads.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/llama.hpp>

#include "cuda/gpu.hpp"
#include "model/small_model.hpp"

namespace {

using namespace lodestone;
using lodestone_test::device_store;
using lodestone_test::on_gpu;
using lodestone_test::small_store;
using types = std::tuple<float, bf16>;

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_observed, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE_TEMPLATE(heads_look_where_those_of_the_host_look, T, types) {
  model_config config = lodestone_test::small_config();
  config.head_dim = 64;
  config.rope.dimensions = 64;
  auto on_host = small_store<host<double>>(config);
  auto on_device = device_store<T>(*on_host);  // both have weights that T holds
  llama<host<double>, observed_attention<reference_attention>> expected(config, *on_host);
  llama<cuda<T>, observed_attention<flash_or_reference>> model(config, *on_device);
  eval::retrieval_example own{.id = "a", .needles = {{1, 5}}};
  for (std::int32_t i = 0; i < 50; ++i) own.prompt.push_back(i * 7 % 17);
  for (std::int32_t i = 0; i < 9; ++i) own.answer.push_back(i * 5 % 17);
  std::vector<eval::record> records;
  const auto keep = [&](eval::record&& result) { records.push_back(std::move(result)); };
  eval::retrieval_heads(expected, {&own, 1}, {}, keep);
  eval::retrieval_heads(model, {&own, 1}, {}, keep);
  const attention_watch& a = *expected.attention().watch;
  const attention_watch& b = *model.attention().watch;
  BOOST_REQUIRE(b.layers() == a.layers() && b.heads() == a.heads() && b.rows() == a.rows());
  std::int64_t same = 0;
  std::int64_t all = 0;
  for (std::int64_t layer = 0; layer < a.layers(); ++layer)
    for (std::int64_t head = 0; head < a.heads(); ++head)
      for (std::int64_t i = 0; i < 9; ++i) {
        same += a.key(layer, head, i) == b.key(layer, head, i) ? 1 : 0;
        ++all;
      }
  // In bf16 the scores of two keys may be nearer to each other than to those of the host.
  BOOST_TEST(same >= (std::is_same_v<T, float> ? all : all * 8 / 10), same << " of " << all << " keys");
  if (std::is_same_v<T, float>) BOOST_TEST((records.at(0) == records.at(1)));

  const token_batch batch = eval::answered(own);
  model.attention().watch->begin(a.rows(), batch.size());
  const std::vector<double> watched = model.log_probs(batch);
  model.attention().watch->end();
  BOOST_TEST(model.log_probs(batch) == watched, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
