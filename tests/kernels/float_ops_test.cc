// CONV_3D, CONV_3D_TRANSPOSE, L2_POOL_2D, LOCAL_RESPONSE_NORMALIZATION, RFFT2D, spectra and
// detection, against the judge or what is known of them.
#include <complex>
#include <numbers>

#include "grid_run.h"

namespace litegap::oracle {
namespace {

Conv3dAttrs random_attrs(Draw& draw) {
  Conv3dAttrs a;
  a.padding = draw.one_in(2) ? Padding::kSame : Padding::kValid;
  a.stride_d = draw.in(1, 2);
  a.stride_h = draw.in(1, 2);
  a.stride_w = draw.in(1, 3);
  a.dilation_d = draw.in(1, 2);
  a.dilation_h = draw.in(1, 2);
  a.activation = draw.activation();
  return a;
}

TEST(FloatOps, Conv3d) {
  for (int seed = 0; seed < rounds(60); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t groups = draw.in(1, 2), ci = draw.in(1, 3), co = groups * draw.in(1, 3);
    const Conv3dAttrs a = random_attrs(draw);
    const Grid x = random_grid(draw,
                               {draw.in(1, 2), draw.in(3, 5), draw.in(3, 5), draw.in(3, 5), ci},
                               DType::kFloat32),
               w = random_grid(draw, {draw.in(1, 2), draw.in(1, 2), draw.in(1, 3), ci, co},
                               DType::kFloat32),
               b = random_grid(draw, {co}, DType::kFloat32);
    OpCase c(OpCode::kConv3d, a);
    c.add(array_of(x, DType::kFloat32)).constant(array_of(w, DType::kFloat32));
    c.constant(array_of(b, DType::kFloat32));
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], conv_3d(x, w, b.at, a), 2e-6))
        << seed;
  }
}

TEST(FloatOps, Conv3dTranspose) {
  for (int seed = 0; seed < rounds(40); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t ci = draw.in(1, 3), co = draw.in(1, 3);
    const Conv3dAttrs a = random_attrs(draw);
    const Grid w =
        random_grid(draw, {draw.in(1, 2), draw.in(1, 2), draw.in(1, 3), co, ci}, DType::kFloat32);
    // The shape whose convolution gives the input.
    const Shape out{1, draw.in(3, 5), draw.in(3, 5), draw.in(3, 5), co};
    Conv3dAttrs plain = a;
    plain.activation = Activation::kNone;
    const Shape from = conv_3d(Grid{out, std::vector<double>(shape_elements(out))},
                               Grid{{w.shape[0], w.shape[1], w.shape[2], co, ci},
                                    std::vector<double>(w.at.size())},
                               {}, plain)
                           .shape;
    const Grid x = random_grid(draw, from, DType::kFloat32);
    OpCase c(OpCode::kConv3dTranspose, a);
    c.constant(integers({out.begin(), out.end()})).constant(array_of(w, DType::kFloat32));
    c.add(array_of(x, DType::kFloat32)).output(DType::kFloat32);
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], conv_3d_transpose(x, w, {}, a, out), 2e-6))
        << seed;
  }
}

TEST(FloatOps, L2PoolAndLocalResponse) {
  for (int seed = 0; seed < rounds(100); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Grid x = random_grid(draw, {draw.in(1, 2), draw.in(3, 6), draw.in(3, 6), draw.in(1, 9)},
                               DType::kFloat32);
    const Padding padding = draw.one_in(2) ? Padding::kSame : Padding::kValid;
    const PoolAttrs pool{padding,       draw.in(1, 2), draw.in(1, 2),
                         draw.in(1, 3), draw.in(1, 3), draw.activation()};
    OpCase c(OpCode::kL2Pool2d, pool);
    c.add(array_of(x, DType::kFloat32));
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], l2_pool(x, pool), 1e-6)) << seed;
    const LocalResponseNormAttrs norm{draw.in(0, 4), draw.real(0.5f, 2), draw.real(0, 1),
                                      draw.real(0.2f, 1)};
    const Dialect d = draw.dialect();
    OpCase n(OpCode::kLocalResponseNormalization, norm);
    n.add(array_of(x, DType::kFloat32));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(n.run(d)[0], local_response(x, norm, d != Dialect::kReference), 1e-6))
        << seed;
  }
}

TEST(FloatOps, Rfft2dIsTheSum) {
  for (int seed = 0; seed < rounds(60); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t h = 1 << draw.in(0, 3), w = 1 << draw.in(0, 4);
    const Grid x =
        random_grid(draw, {draw.in(1, 2), draw.in(1, 9), draw.in(1, 17)}, DType::kFloat32);
    OpCase c(OpCode::kRfft2d, NoAttrs{});
    c.add(array_of(x, DType::kFloat32)).constant(integers({h, w})).output(DType::kComplex64);
    const Array y = c.run(draw.dialect())[0];
    const Grid want = rfft2d(x, h, w);
    ASSERT_EQ(y.shape(), Shape(want.shape.begin(), want.shape.end() - 1));
    const auto* parts = reinterpret_cast<const float*>(y.data());
    for (std::size_t i = 0; i < want.at.size(); ++i)
      ASSERT_NEAR(parts[i], want.at[i], 1e-4) << seed << " " << i;
  }
}

// A tone of k turns per window has its power in bin k and, by the Hann window, half as much
// amplitude in the neighbours.
TEST(FloatOps, SpectrogramOfATone) {
  const std::int32_t window = 32;
  for (std::int32_t k = 3; k < 12; ++k) {
    Grid x{{100, 1}, {}};
    for (int i = 0; i < 100; ++i) x.at.push_back(std::cos(2 * std::numbers::pi * k * i / window));
    OpCase c(OpCode::kCustom, CustomAttrs{{{"window_size", window}, {"stride", 10}}});
    c.custom("AudioSpectrogram").add(array_of(x, DType::kFloat32));
    const Array y = c.run(Dialect::kBuiltin)[0];
    ASSERT_EQ(y.shape(), (Shape{1, 7, 17}));
    for (std::int32_t f = 0; f < 7; ++f) {
      const float* row = y.span<float>().data() + f * 17;
      EXPECT_NEAR(row[k], window / 4.0, 1e-3);
      EXPECT_NEAR(row[k - 1], window / 8.0, 1e-3);
      EXPECT_NEAR(row[k + 2], 0, 1e-3);
    }
  }
}

// Of a flat spectrum only the bands' widths differ; the first coefficient is the mean of the
// logarithms times sqrt(2 * bands).
TEST(FloatOps, CepstrumOfScaledPower) {
  Grid x{{1, 1, 129}, std::vector<double>(129, 1.0)};
  const auto run = [&](double power) {
    Grid p = x;
    for (double& v : p.at) v *= power;
    OpCase c(OpCode::kCustom, CustomAttrs{{{"upper_frequency_limit", 4000.0},
                                           {"lower_frequency_limit", 20.0},
                                           {"filterbank_channel_count", 20.0},
                                           {"dct_coefficient_count", 13.0}}});
    c.custom("Mfcc").add(array_of(p, DType::kFloat32)).constant(integers({8000}));
    return grid_of(c.run(Dialect::kBuiltin)[0]);
  };
  const Grid a = run(1), b = run(100);
  ASSERT_EQ(a.shape, (Shape{1, 1, 13}));
  // A hundredfold power is a tenfold amplitude: log 10 in every band, all of it in the first.
  EXPECT_NEAR(b.at[0] - a.at[0], std::sqrt(2.0 / 20) * 20 * std::log(10.0), 1e-3);
  for (std::size_t k = 1; k < 13; ++k) EXPECT_NEAR(b.at[k], a.at[k], 1e-3);
}

Grid random_boxes(Draw& draw, std::int32_t n) {
  Grid g{{n, 4}, {}};
  for (std::int32_t i = 0; i < n; ++i) {
    const double y = static_cast<double>(draw.real(0, 4)), x = static_cast<double>(draw.real(0, 4));
    for (const double v : {y, x, y + 1.0, x + 1.5}) g.at.push_back(held(v, DType::kFloat32));
  }
  return g;
}

TEST(FloatOps, SuppressionKeepsTheBest) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t n = draw.in(1, 20), most = draw.in(0, 12);
    const Grid boxes = random_boxes(draw, n),
               scores = make_grid({n}, [&](const Shape&) {
                 return held(static_cast<double>(draw.real(0, 1)), DType::kFloat32);
               });
    const float iou = draw.real(0.1f, 0.9f), least = draw.real(0, 0.5f);
    const bool v5 = draw.one_in(2);
    OpCase c(v5 ? OpCode::kNonMaxSuppressionV5 : OpCode::kNonMaxSuppressionV4, NoAttrs{},
             v5 ? 3 : 2);
    c.add(array_of(boxes, DType::kFloat32)).add(array_of(scores, DType::kFloat32));
    c.constant(Array::of<std::int32_t>({}, {most})).add(Array::of<float>({}, {iou}));
    c.add(Array::of<float>({}, {least}));
    if (v5) c.add(Array::of<float>({}, {0.0f}));
    c.types(v5 ? std::vector<DType>{DType::kInt32, DType::kFloat32, DType::kInt32}
               : std::vector<DType>{DType::kInt32, DType::kInt32});
    const auto y = c.run(draw.dialect());
    const auto want =
        suppression(boxes, scores, most, static_cast<double>(iou), static_cast<double>(least));
    ASSERT_EQ(y.back().span<std::int32_t>()[0], static_cast<std::int32_t>(want.size())) << seed;
    for (std::int32_t i = 0; i < most; ++i) {
      const auto k = static_cast<std::size_t>(i);
      ASSERT_EQ(y[0].span<std::int32_t>()[k], k < want.size() ? want[k] : 0) << seed;
      if (v5) {
        ASSERT_EQ(static_cast<double>(y[1].span<float>()[k]),
                  k < want.size() ? scores({want[k]}) : 0.0);
      }
    }
  }
}

// Offsets of zero are the anchors; the scores decide.
TEST(FloatOps, DetectionsAreTheAnchors) {
  for (const bool regular : {false, true}) {
    OpCase c(OpCode::kCustom,
             CustomAttrs{{{"max_detections", 3},
                          {"max_classes_per_detection", 1},
                          {"num_classes", 2},
                          {"nms_score_threshold", 0.2},
                          {"nms_iou_threshold", 0.5},
                          {"use_regular_nms", regular ? 1.0 : 0.0},
                          {"y_scale", 10},
                          {"x_scale", 10},
                          {"h_scale", 5},
                          {"w_scale", 5}}},
             4);
    c.custom("TFLite_Detection_PostProcess").add(Array::zeros(DType::kFloat32, {1, 3, 4}));
    // Columns: background, class 0, class 1.  Anchors 0 and 1 overlap.
    c.add(Array::of<float>({1, 3, 3}, {0.9f, 0.3f, 0.1f, 0, 0.8f, 0.1f, 0, 0.1f, 0.6f}));
    c.constant(Array::of<float>({3, 4}, {1, 1, 2, 2, 1, 1.1f, 2, 2, 9, 9, 2, 4}));
    const auto y = c.output(DType::kFloat32).run(Dialect::kBuiltin);
    EXPECT_EQ(y[3].span<float>()[0], 2);
    expect_grid(y[2], Grid{{1, 3}, {0.8, 0.6, 0}}, 1e-6);
    expect_grid(y[1], Grid{{1, 3}, {0, 1, 0}});
    expect_grid(y[0], Grid{{1, 3, 4}, {0, 0.1, 2, 2.1, 8, 7, 10, 11, 0, 0, 0, 0}}, 1e-6);
  }
}

}  // namespace
}  // namespace litegap::oracle
