// A recorder of your own: it hears the events of a run that it wants to hear, and none of the others.
#include <cmath>
#include <cstdio>
#include <vector>

#include <lodestone/train/recorder.hpp>

// Warns when the loss has not fallen for `patience` steps (mean of the last `patience` against the best mean so far).
class plateau_recorder {
 public:
  explicit plateau_recorder(std::size_t patience) : patience_(patience) {}

  void record(const lodestone::step_record& step) {
    recent_.push_back(step.loss);
    if (recent_.size() < patience_) return;
    double mean = 0.0;
    for (const double loss : recent_) mean += loss / static_cast<double>(patience_);
    recent_.clear();
    if (mean > best_ - 0.01) {
      warnings_ += 1;
      std::printf("step %d: the loss rests at %.3f\n", static_cast<int>(step.step), mean);
    }
    best_ = std::fmin(best_, mean);
  }

  [[nodiscard]] int warnings() const { return warnings_; }

 private:
  std::size_t patience_;
  std::vector<double> recent_;
  double best_ = INFINITY;
  int warnings_ = 0;
};

static_assert(lodestone::recorder<plateau_recorder>);

int main() {
  // Recorders are combined: train::run(program, ..., recorders, ...) sends every event to each part that has a record()
  // for it. Here the events of a run that stops learning after step 60 are sent by hand.
  lodestone::recorders all(plateau_recorder(10), plateau_recorder(40));
  all.record(lodestone::run_started{.title = "a run", .steps = 120});  // neither part hears this one
  for (std::int64_t step = 1; step <= 120; ++step)
    all.record(lodestone::step_record{.step = step, .steps = 120, .loss = 2 + 3 * std::exp(-std::fmin(step, 60) / 10)});

  const int quick = all.get<0>().warnings();
  const int slow = all.get<1>().warnings();
  std::printf("%d warnings from the quick recorder, %d from the slow one\n", quick, slow);
  return quick == 6 && slow == 1 ? 0 : 1;
}
