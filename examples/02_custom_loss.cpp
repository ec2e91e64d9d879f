// A loss of your own: a struct that turns label log-probabilities into one coefficient for each scored token.
#include <cmath>
#include <cstdio>
#include <vector>

#include <lodestone/loss/concept.hpp>

// Focal loss (Lin et al., arXiv 1708.02002): tokens that the model is already sure of count less.
//   L = sum_k a_k (1 - p_k)^gamma (-log p_k) / sum_k a_k
struct focal_loss {
  double gamma = 2.0;

  static constexpr bool is_always_linear = false;  // the coefficients depend on the log-probabilities
  static constexpr bool is_linear() { return false; }

  double coefficients(const lodestone::step_totals& totals, std::span<const lodestone::sequence>,
                      std::span<const lodestone::scored_token> scored, std::span<const double> log_probs,
                      std::span<double> c) const {
    double loss = 0.0;
    for (std::size_t k = 0; k < scored.size(); ++k) {
      const double share = scored[k].weight / totals.token_weight;  // totals are those of the whole step, on all ranks
      const double p = std::exp(log_probs[k]);
      const double modulation = std::pow(1.0 - p, gamma);
      loss -= share * modulation * log_probs[k];
      c[k] = share * (gamma * std::pow(1.0 - p, gamma - 1.0) * p * log_probs[k] - modulation);
    }
    return loss;
  }
};

static_assert(lodestone::loss_function<focal_loss>);  // a struct that does not fit is refused here, by name

int main() {
  const focal_loss loss;
  const std::vector<lodestone::sequence> sequences(1);
  const std::vector<lodestone::scored_token> scored{{.row = 0, .label = 5}, {.row = 1, .label = 9, .weight = 0.5}};
  const lodestone::step_totals totals{.token_weight = 1.5};
  std::vector<double> log_probs{-0.1, -3.0};
  std::vector<double> c(2);
  std::vector<double> ignored(2);
  std::printf("loss %.9f\n", loss.coefficients(totals, sequences, scored, log_probs, c));

  // The law every loss obeys: c is the gradient. Central differences agree to about 1e-10.
  double worst = 0.0;
  for (std::size_t k = 0; k < log_probs.size(); ++k) {
    const double at = log_probs[k];
    log_probs[k] = at + 1e-5;
    const double above = loss.coefficients(totals, sequences, scored, log_probs, ignored);
    log_probs[k] = at - 1e-5;
    const double below = loss.coefficients(totals, sequences, scored, log_probs, ignored);
    log_probs[k] = at;
    worst = std::fmax(worst, std::fabs((above - below) / 2e-5 - c[k]));
    std::printf("d loss / d log p_%zu = %+.9f\n", k, c[k]);
  }
  std::printf("largest difference from central differences: %.1e\n", worst);
  return worst < 1e-8 ? 0 : 1;
}
