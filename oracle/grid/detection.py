"""Boxes: what comes after a detector."""

import numpy as np
from flatbuffers import flexbuffers

from grid.model import Model, OPS as BUILTIN, options
from grid.record import Case


def boxes_of(rng, count):
    """Corners `y x y x`, many of which overlap."""
    centers = rng.uniform(0.2, 0.8, (count, 2))
    half = rng.uniform(0.02, 0.25, (count, 2))
    return np.concatenate([centers - half, centers + half], 1).astype(np.float32)


def suppression(soft):
    """Cases of NON_MAX_SUPPRESSION_V4 and V5."""

    def cases(rng):
        kinds = [
            ("plain", 20, 6, 0.5, 0.3),
            ("few", 5, 8, 0.4, 0.2),
            ("none", 6, 4, 0.5, 2.0),
            ("strict", 24, 10, 0.05, -1.0),
            ("loose", 12, 12, 0.99, 0.0),
            ("ties", 40, 20, 0.3, 0.1),
            ("computed_size", 16, 7, 0.4, 0.1),
        ]
        for sigma in (0.0, 0.3, 1.5) if soft else (0.0,):
            for name, count, most, overlap, score in kinds:
                model = Model()
                graph = model.graph()
                boxes = boxes_of(rng, count)
                if name == "loose":
                    # Any two opposite corners.
                    boxes[::2] = boxes[::2][:, [2, 1, 0, 3]]
                scores = rng.uniform(0, 1, count).astype(np.float32)
                if name == "ties":
                    scores = (np.round(scores * 4) / 4).astype(np.float32)
                ids = [graph.input("f32", boxes.shape), graph.input("f32", scores.shape)]
                feeds = [boxes, scores]
                if name == "computed_size":
                    ids.append(graph.input("i32", ()))
                    feeds.append(np.array(most, np.int32))
                else:
                    ids.append(graph.tensor("i32", (), data=np.array(most)))
                scalars = [overlap, score] + ([sigma] if soft else [])
                ids += [graph.tensor("f32", (), data=np.array(value)) for value in scalars]
                kinds_out = [("i32", (most,)), ("f32", (most,)), ("i32", ())] if soft else [("i32", (most,)), ("i32", ())]
                outputs = [graph.output(dtype, shape) for dtype, shape in kinds_out]
                version = "V5" if soft else "V4"
                op = BUILTIN.NON_MAX_SUPPRESSION_V5 if soft else BUILTIN.NON_MAX_SUPPRESSION_V4
                graph.op(op, ids, outputs, options(f"NonMaxSuppression{version}Options"))
                yield Case(f"{name}_{sigma}", model.bytes(), [feeds])

    return cases


def detection(rng):
    """Cases of TFLite_Detection_PostProcess."""
    kinds = [
        # name, type, boxes, classes, background, options
        ("fast", "f32", 30, 5, 1, {}),
        ("fast_many_classes", "f32", 30, 5, 1, {"max_classes_per_detection": 3}),
        ("fast_ties", "f32", 30, 9, 0, {"max_classes_per_detection": 4, "ties": True}),
        ("fast_argmax_ties", "f32", 30, 9, 0, {"ties": True}),
        ("regular", "f32", 30, 5, 1, {"use_regular_nms": True}),
        ("regular_per_class", "f32", 40, 4, 0, {"use_regular_nms": True, "detections_per_class": 2}),
        ("regular_ties", "f32", 40, 6, 1, {"use_regular_nms": True, "ties": True, "max_detections": 12}),
        ("one_class", "f32", 25, 1, 1, {"nms_iou_threshold": 0.2}),
        ("long_encoding", "f32", 20, 3, 1, {"encoding": 7}),
        ("uint8", "u8", 40, 6, 1, {}),
        ("uint8_regular", "u8", 40, 6, 1, {"use_regular_nms": True}),
        ("uint8_many_classes", "u8", 40, 6, 1, {"max_classes_per_detection": 2}),
    ]
    for name, dtype, count, classes, background, how in kinds:
        how = dict(how)
        ties, encoding = how.pop("ties", False), how.pop("encoding", 4)
        fields = {
            "max_detections": 5,
            "max_classes_per_detection": 1,
            "nms_score_threshold": 0.1,
            "nms_iou_threshold": 0.5,
            "num_classes": classes,
            "y_scale": 10.0,
            "x_scale": 10.0,
            "h_scale": 5.0,
            "w_scale": 5.0,
        } | how
        builder = flexbuffers.Builder()
        with builder.Map():
            for key, value in sorted(fields.items()):
                builder.Key(key)
                if isinstance(value, bool):
                    builder.Bool(value)
                elif isinstance(value, int):
                    builder.Int(value)
                else:
                    builder.Float(value)
        corners = boxes_of(rng, count)
        anchors = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
        encodings = rng.uniform(-1, 1, (1, count, encoding)).astype(np.float32)
        scores = rng.uniform(0, 1, (1, count, classes + background)).astype(np.float32)
        if ties:
            scores = (np.round(scores * 5) / 5).astype(np.float32)
        model = Model()
        graph = model.graph()
        if dtype == "u8":
            scales = [np.float32(2 / 255), np.float32(1 / 255), np.float32(1 / 255)]
            points = [128, 0, 0]
            q = [np.clip(np.round(x / s) + z, 0, 255) for x, s, z in zip((encodings, scores, anchors), scales, points)]
            ids = [graph.input("u8", x.shape, scale=s, zero_point=z) for x, s, z in zip(q[:2], scales, points)]
            ids.append(graph.tensor("u8", anchors.shape, scale=scales[2], zero_point=0, data=q[2]))
            feeds = [x.astype(np.uint8) for x in q[:2]]
        else:
            ids = [graph.input("f32", encodings.shape), graph.input("f32", scores.shape)]
            ids.append(graph.tensor("f32", anchors.shape, data=anchors))
            feeds = [encodings, scores]
        found = fields["max_detections"] * fields["max_classes_per_detection"]
        shapes = [(1, found, 4), (1, found), (1, found), (1,)]
        outputs = [graph.output("f32", shape) for shape in shapes]
        graph.op(
            BUILTIN.CUSTOM, ids, outputs, custom="TFLite_Detection_PostProcess", custom_options=bytes(builder.Finish())
        )
        yield Case(name, model.bytes(), [feeds])


OPS = {
    "non_max_suppression_v4": suppression(False),
    "non_max_suppression_v5": suppression(True),
    "detection_postprocess": detection,
}
