/** Node tests that do not pass, by the reason. A test that begins to pass must leave the list. */
const byReason: Readonly<Record<string, readonly string[]>> = {
  'Draft operator of the domain ai.onnx.preview': [
    'flexattention',
    'flexattention_causal_mask',
    'flexattention_diff_head_sizes',
    'flexattention_fp16',
    'flexattention_gqa',
    'flexattention_prob_mod',
    'flexattention_relative_positional',
    'flexattention_scaled',
    'flexattention_score_mod',
    'flexattention_soft_cap',
  ],
  'Optimizer step of training': [
    'adagrad',
    'adagrad_multiple',
    'adam',
    'adam_multiple',
    'momentum',
    'momentum_multiple',
    'nesterov_momentum',
  ],
  'Random numbers of the reference implementation': [
    'bernoulli_seed',
    'bernoulli_seed_expanded',
    'training_dropout',
    'training_dropout_default',
    'training_dropout_default_mask',
    'training_dropout_mask',
  ],
  'Decodes picture files, which browsers do before a graph runs': [
    ...[
      'bmp_rgb',
      'jpeg2k_rgb',
      'jpeg_bgr',
      'jpeg_grayscale',
      'jpeg_rgb',
      'png_rgb',
      'pnm_rgb',
      'tiff_rgb',
    ].map((format) => `image_decoder_decode_${format}`),
    'image_decoder_decode_webp_rgb',
  ],
  'Operator of the domain ai.onnx.ml, which the build of onnxruntime for the web leaves out': [
    'array_feature_extractor',
    'binarizer',
    'tree_ensemble_set_membership',
  ].map((name) => `ai_onnx_ml_${name}`),
  'Operator that the build of onnxruntime for the web leaves out': [
    ...[
      'batch_onlybigrams_skip0',
      'batch_onlybigrams_skip5',
      'batch_uniandbigrams_skip5',
      'only_bigrams_skip0',
    ].map((name) => `tfidfvectorizer_tf_${name}`),
    ...['onlybigrams_levelempty', 'onlybigrams_skip5', 'uniandbigrams_skip5'].map(
      (name) => `tfidfvectorizer_tf_${name}`,
    ),
  ],
  'onnxruntime has no kernel for layout 1': ['gru_batchwise', 'lstm_batchwise', 'simple_rnn_batchwise'],
  'onnxruntime has no kernel for opset 22': [
    'roialign_aligned_false',
    'roialign_aligned_true',
    'roialign_mode_max',
  ],
  'The shape of the result depends on data': [
    ...['center_point_box_format', 'flipped_coordinates', 'identical_boxes', 'iou_threshold_boundary'].map(
      (name) => `nonmaxsuppression_${name}`,
    ),
    ...['limit_output_size', 'single_box', 'suppress_by_IOU', 'suppress_by_IOU_and_scores'].map(
      (name) => `nonmaxsuppression_${name}`,
    ),
    'nonmaxsuppression_two_batches',
    'nonmaxsuppression_two_classes',
  ],
  'Scan of operator set 8 has batches': ['scan_sum'],
};

/** The reason by the name of the test. */
export const knownFailures: ReadonlyMap<string, string> = new Map(
  Object.entries(byReason).flatMap(([reason, tests]) =>
    tests.map((test) => [`test_${test}`, reason] as const),
  ),
);
