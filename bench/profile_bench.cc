// The five slowest operators of each model against the machine's peak.
//
//   profile_bench MODELS_FOLDER [MODEL…]        MODEL: NAME/KIND, without .tflite
//
// The peak is what this machine does in the same run with operands in registers: independent chains
// of fused multiply-adds of floats, or of the integer products that the inner loops are built on.
// An operator that moves data has no multiplications; its bytes per second are printed instead.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/gemm.h"
#include "random_inputs.h"
#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRuns = 60;
constexpr std::size_t kShown = 5;
constexpr int kChains = 8;  // two a cycle, a latency of four

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// Multiply-adds a second of the best machine instructions, operands in registers: the chains are
// independent and long enough to hide their latency.
#if defined(__x86_64__)
// `x` might have changed before every step, for all the compiler knows: no product is taken out of
// the loop.
#define LITEGAP_CHAINS(NAME, TARGET, REGISTER, VECTOR, ZERO, STEP) \
  __attribute__((target(TARGET), noinline)) void NAME(int n) {     \
    VECTOR sum[kChains], x = ZERO;                                 \
    for (auto& s : sum) s = ZERO;                                  \
    for (int i = 0; i < n; ++i) {                                  \
      _Pragma("GCC unroll 8") for (auto& s : sum) {                \
        asm volatile("" : "+" REGISTER(x));                        \
        s = STEP;                                                  \
      }                                                            \
    }                                                              \
    for (auto& s : sum) asm volatile("" : "+" REGISTER(s));        \
  }
LITEGAP_CHAINS(fma256, "avx2,fma", "x", __m256, _mm256_setzero_ps(), _mm256_fmadd_ps(x, x, s))
LITEGAP_CHAINS(words256, "avx2", "x", __m256i, _mm256_setzero_si256(),
               _mm256_add_epi32(s, _mm256_madd_epi16(x, x)))
LITEGAP_CHAINS(fma512, "avx512f", "v", __m512, _mm512_setzero_ps(), _mm512_fmadd_ps(x, x, s))
LITEGAP_CHAINS(bytes512, "avx512f,avx512vnni", "v", __m512i, _mm512_setzero_si512(),
               _mm512_dpbusd_epi32(s, x, x))
// Four tiles of sums, twice: as many products as there are chains.
__attribute__((target("amx-tile,amx-int8"), noinline)) void tiles(int n) {
  static_assert(kChains == 8);
  gemm_amx()->blocks->begin();
  for (int i = 0; i < 2 * n; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  gemm_amx()->blocks->end();
}
#endif

double rate(void (*chains)(int), double products) {
  constexpr int kSteps = 100000;
  double best = 1e30;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto before = Clock::now();
    chains(kSteps);
    best = std::min(best, seconds(Clock::now() - before));
  }
  return kSteps * kChains * products / best;
}

struct Peak {
  double floats = 0, integers = 0;  // 0: not known for this processor
};
Peak machine_peak() {
#if defined(__x86_64__)
  if (gemm_amx() != nullptr) return {rate(fma512, 16), rate(tiles, 16 * 16 * 64)};
  if (gemm_avx512() != nullptr) return {rate(fma512, 16), rate(bytes512, 64)};
  if (gemm_avx2() != nullptr) return {rate(fma256, 8), rate(words256, 16)};
#endif
  return {};
}

// Multiply-adds of one run of an operator; 0 where it has none.
double products_of(const Graph& graph, const Op& op) {
  const auto shape = [&](int t) -> const Shape& {
    return graph.tensors[static_cast<std::size_t>(t)].shape;
  };
  const auto elements = [&](int t) { return static_cast<double>(shape_elements(shape(t))); };
  if (op.inputs.size() < 2 || op.inputs[1] < 0 || op.outputs.empty()) return 0;
  const Shape& w = shape(op.inputs[1]);
  if (op.code == OpCode::kConv2d && w.size() == 4)
    return elements(op.outputs[0]) * static_cast<double>(w[1]) * w[2] * w[3];
  if (op.code == OpCode::kDepthwiseConv2d && w.size() == 4)
    return elements(op.outputs[0]) * static_cast<double>(w[1]) * w[2];
  if (op.code == OpCode::kFullyConnected && w.size() == 2)
    return elements(op.outputs[0]) * static_cast<double>(w[1]);
  return 0;
}

double bytes_of(const Graph& graph, const Op& op) {
  double bytes = 0;
  for (const auto& list : {op.inputs, op.outputs}) {
    for (const int t : list) {
      if (t < 0) continue;
      const Tensor& tensor = graph.tensors[static_cast<std::size_t>(t)];
      bytes += static_cast<double>(dtype_bytes(tensor.dtype, shape_elements(tensor.shape)));
    }
  }
  return bytes;
}

class Times final : public Observer {
 public:
  void begin() { last_ = Clock::now(); }
  void on_value(int op, int, const Array&) override {
    const auto now = Clock::now();
    if (op >= 0) {
      double& best = best_.try_emplace(op, 1e30).first->second;
      best = std::min(best, seconds(now - last_));
    }
    last_ = Clock::now();
  }
  const std::map<int, double>& best() const { return best_; }

 private:
  Clock::time_point last_;
  std::map<int, double> best_;
};

void profile(const std::string& folder, const std::string& name, const Peak& peak) {
  const ModelPtr model = read_model(folder + "/" + name + ".tflite");
  const Plan plan = make_plan(model, {});
  Workspace workspace(plan);
  const std::vector<Array> inputs = random_inputs(plan);
  Times times;
  for (int i = 0; i < kRuns; ++i) {
    times.begin();
    run(plan, workspace, inputs, &times);
  }
  std::vector<std::pair<double, int>> slowest;
  double all = 0;
  for (const auto& [op, time] : times.best()) {
    slowest.push_back({time, op});
    all += time;
  }
  std::sort(slowest.rbegin(), slowest.rend());
  if (slowest.size() > kShown) slowest.resize(kShown);
  fmt::print("{}: {:.1f} us\n", name, all * 1e6);
  const Graph& graph = model->main();
  for (const auto& [time, id] : slowest) {
    const Op& op = graph.ops[static_cast<std::size_t>(id)];
    const Tensor& input = graph.tensors[static_cast<std::size_t>(op.inputs[0])];
    const bool floats = input.dtype == DType::kFloat32;
    const double products = products_of(graph, op);
    fmt::print("  {:8.1f} us {:5.1f} %  #{:<3} {:20} {:16}", time * 1e6, 100 * time / all, id,
               op_name(op.code), shape_text(input.shape));
    if (products > 0)
      fmt::print("{:7.1f} GMAC/s {:4.0f} % of the peak\n", products / time * 1e-9,
                 100 * products / time / (floats ? peak.floats : peak.integers));
    else
      fmt::print("{:7.1f} GB/s\n", bytes_of(graph, op) / time * 1e-9);
  }
}

int bench(const std::vector<std::string>& args) {
  const Peak peak = machine_peak();
  fmt::print("{}: peak {:.1f} GMAC/s of floats, {:.1f} of integers, one thread\n", gemm_best().name,
             peak.floats * 1e-9, peak.integers * 1e-9);
  std::vector<std::string> models(args.begin() + 1, args.end());
  if (models.empty())
    models = {"imagenet_mnv1_025_128/float", "imagenet_mnv2_10_224/uint8_qat",
              "mlperf_ic_resnet8/int8",      "mlperf_kws_dscnn/int8",
              "mlperf_vww_mnv1_025_96/int8", "seg_deeplabv3_257/float",
              "mlperf_ad_autoencoder/int8"};
  for (const std::string& name : models) profile(args[0], name, peak);
  return 0;
}

}  // namespace
}  // namespace litegap

int main(int argc, char** argv) {
  try {
    if (argc < 2) litegap::fail("usage: profile_bench MODELS_FOLDER [NAME/KIND…]");
    return litegap::bench({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
