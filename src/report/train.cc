#include "report/train.h"

#include <fmt/format.h>

#include "base/json.h"

namespace litegap {
namespace {

Json epoch_json(const EpochReport& e) {
  Json j{{"loss", json_number(e.loss)}, {"learning_rate", json_number(e.learning_rate)}};
  if (e.accuracy >= 0) j["accuracy"] = json_number(e.accuracy);
  if (e.validation_loss >= 0) j["validation_loss"] = json_number(e.validation_loss);
  if (e.validation_accuracy >= 0) j["validation_accuracy"] = json_number(e.validation_accuracy);
  return j;
}

std::string epoch_text(const char* name, const EpochReport& e) {
  std::string s = fmt::format("  {}: loss {:.6g}", name, e.loss);
  if (e.accuracy >= 0) s += fmt::format(", {:.1f} % right", 100 * e.accuracy);
  if (e.validation_loss >= 0) s += fmt::format("; validation loss {:.6g}", e.validation_loss);
  if (e.validation_accuracy >= 0) s += fmt::format(", {:.1f} % right", 100 * e.validation_accuracy);
  return s + "\n";
}

}  // namespace

Json train_json(const TrainResult& r, const std::string& version) {
  Json epochs = Json::array();
  for (const EpochReport& e : r.fit.epochs) epochs.push_back(epoch_json(e));
  Json rounded = nullptr;
  if (r.quantized) {
    rounded = Json{{"loss", json_number(r.quantized->loss)},
                   {"accuracy", json_number(r.quantized->accuracy)},
                   {"unsettled", r.quantized->unsettled}};
  }
  return Json{{"schema", "litegap.train/1"},
              {"litegap", version},
              {"out", r.out},
              {"loss", r.loss},
              {"optimizer", r.optimizer},
              {"samples", r.samples},
              {"bytes", r.bytes},
              {"epochs", epochs},
              {"final", epochs.empty() ? Json(nullptr) : epochs.back()},
              {"quantized", rounded},
              {"best_epoch", r.fit.best_epoch},
              {"stopped", r.fit.stopped},
              {"stopped_early", r.fit.stopped_early},
              {"decisions", to_json(r.decisions)},
              {"seconds", r.seconds}};
}

std::string train_text(const TrainResult& r) {
  const FitResult& f = r.fit;
  std::string text =
      fmt::format("{}: {} of {} epochs in {:.1f} s\n", r.out, f.epochs.size(), r.epochs, r.seconds);
  if (!f.epochs.empty()) text += epoch_text("first epoch", f.epochs.front());
  if (f.epochs.size() > 1) text += epoch_text("last epoch", f.epochs.back());
  if (f.stopped_early) {
    text += fmt::format("  stopped early: no better loss than that of epoch {} since\n",
                        f.best_epoch + 1);
  }
  for (const Decision& d : r.decisions) {
    text += fmt::format("  {}: {} ({})\n", d.item, d.chosen, d.because);
  }
  return text;
}

}  // namespace litegap
