"""Tiny bundles in the very layouts of MONAI's Model Zoo (spleen_ct_segmentation, lung_nodule_ct_detection,
breast_density_classification at dfae206d): the same configuration keys, other networks; and what zoo code
does with them.
"""

from typing import Any

Json = Any
DEVICE = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"
EVALUATOR = {
    "_target_": "SupervisedEvaluator",
    "device": "@device",
    "val_data_loader": "@dataloader",
    "network": "@network",
    "inferer": "@inferer",
    "postprocessing": "@postprocessing",
    "val_handlers": "@handlers",
    "amp": True,
}
CHECKPOINT = {
    "_target_": "CheckpointLoader",
    "load_path": "$@bundle_root + '/models/model.pt'",
    "load_dict": {"model": "@network"},
}


def image_format(modality: str, shape: list[Any], channels: int = 1) -> Json:
    return {"type": "image", "modality": modality, "num_channels": channels, "spatial_shape": shape}


def segmentation(network: Json) -> tuple[Json, Json]:
    """configs/inference.json and what metadata.json says, as spleen_ct_segmentation has them."""
    saver = {
        "_target_": "SaveImaged",
        "keys": "pred",
        "output_dir": "@output_dir",
        "output_ext": "@output_ext",
        "output_dtype": "@output_dtype",
        "output_postfix": "@output_postfix",
        "separate_folder": "@separate_folder",
    }
    inverting = {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "@image_key",
        "nearest_interp": False,
        "to_tensor": True,
    }
    scaling = {"_target_": "ScaleIntensityRanged", "keys": "@image_key", "a_min": -57, "a_max": 164}
    before = [
        {"_target_": "LoadImaged", "keys": "@image_key"},
        {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
        {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": "@image_key", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
        {**scaling, "b_min": 0, "b_max": 1, "clip": True},
        {"_target_": "EnsureTyped", "keys": "@image_key"},
    ]
    after = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        inverting,
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        saver,
    ]
    inference = {
        "imports": ["$import glob", "$import numpy", "$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "output_dir": "$@bundle_root + '/eval'",
        "output_ext": ".nii.gz",
        "output_dtype": "$numpy.float32",
        "output_postfix": "trans",
        "separate_folder": True,
        "load_pretrain": True,
        "dataset_dir": "/workspace/data/Task09_Spleen",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "device": DEVICE,
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": [16, 16, 16],
            "sw_batch_size": 4,
            "overlap": 0.5,
        },
        "postprocessing": {"_target_": "Compose", "transforms": after},
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": EVALUATOR,
        "checkpointloader": CHECKPOINT,
        "initialize": [
            "$monai.utils.set_determinism(seed=123)",
            "$@checkpointloader(@evaluator) if @load_pretrain else None",
        ],
        "run": ["$@evaluator.run()"],
    }
    said = {"type": "image", "format": "segmentation", "channel_def": {"0": "background", "1": "spleen"}}
    formats = {"inputs": {"image": image_format("CT", [96, 96, 96])}, "outputs": {"pred": said}}
    return inference, {"network_data_format": formats}


def detection() -> tuple[Json, Json]:
    """As lung_nodule_ct_detection: `detector_ops` before the inferer, postprocessing in a saving handler."""
    before = [
        {"_target_": "LoadImaged", "keys": "@image_key", "_disabled_": "@whether_raw_luna16"},
        {
            "_target_": "LoadImaged",
            "keys": "@image_key",
            "reader": "itkreader",
            "affine_lps_to_ras": True,
            "_disabled_": "@whether_resampled_luna16",
        },
        {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
        {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
        {
            "_target_": "Spacingd",
            "keys": "@image_key",
            "pixdim": [0.703125, 0.703125, 1.25],
            "_disabled_": "@whether_resampled_luna16",
        },
        {
            "_target_": "ScaleIntensityRanged",
            "keys": "@image_key",
            "a_min": -1024.0,
            "a_max": 300.0,
            "b_min": 0.0,
            "b_max": 1.0,
            "clip": True,
        },
        {"_target_": "EnsureTyped", "keys": "@image_key"},
    ]
    after = [
        {
            "_target_": "ClipBoxToImaged",
            "box_keys": "box",
            "label_keys": "label",
            "box_ref_image_keys": "@image_key",
            "remove_empty": True,
        },
        {
            "_target_": "AffineBoxToWorldCoordinated",
            "box_keys": "box",
            "box_ref_image_keys": "@image_key",
            "affine_lps_to_ras": True,
        },
        {"_target_": "ConvertBoxModed", "box_keys": "box", "src_mode": "xyzxyz", "dst_mode": "cccwhd"},
        {"_target_": "DeleteItemsd", "keys": ["@image_key"]},
    ]
    saver = {
        "_target_": "scripts.detection_saver.DetectionSaver",
        "output_dir": "@output_dir",
        "output_transform": "$lambda x: [@postprocessing({**xx['pred'],'image':xx['image']}) for xx in x]",
    }
    inference = {
        "whether_raw_luna16": True,
        "whether_resampled_luna16": "$(not @whether_raw_luna16)",
        "imports": ["$import glob", "$import numpy", "$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "output_dir": "$@bundle_root + '/eval'",
        "test_datalist": "$monai.data.load_decathlon_datalist('/nowhere', data_list_key='validation')",
        "device": DEVICE,
        "amp": True,
        "load_pretrain": True,
        "network_def": {"_target_": "scripts.detector.Hot", "gain": 1.0},
        "network": "$@network_def.to(@device)",
        "detector": {"_target_": "scripts.detector.Detector", "network": "@network"},
        "detector_ops": ["$@detector.set_box_selector_parameters(score_thresh=0.02,detections_per_img=300)"],
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "dataset": {"_target_": "Dataset", "data": "$@test_datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "scripts.detector.DetectorInferer", "detector": "@detector"},
        "postprocessing": {"_target_": "Compose", "transforms": after},
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}, saver],
        "evaluator": {
            **{name: EVALUATOR[name] for name in ("device", "network", "inferer")},
            "_target_": "scripts.evaluator.DetectionEvaluator",
            "_requires_": "@detector_ops",
            "val_handlers": "@handlers",
            "amp": "@amp",
        },
        "checkpointloader": CHECKPOINT,
        "initialize": [
            "$setattr(torch.backends.cudnn, 'benchmark', True)",
            "$@checkpointloader(@evaluator) if @load_pretrain else None",
        ],
        "run": ["$@evaluator.run()"],
    }
    said = {"type": "object", "format": "dict", "dtype": "float16", "num_channels": 1}
    formats = {
        "inputs": {"image": image_format("CT", ["16*n", "16*n", "8*n"])},
        "outputs": {"pred": said},
    }
    return inference, {"network_data_format": formats}


DETECTOR = '''
"""A detector with the zoo's interface: the box of what is brighter than half, and one that is unlikely."""
import torch


class Hot(torch.nn.Module):
    def __init__(self, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, image):
        return image * self.gain


class Detector:
    def __init__(self, network):
        self.network, self.least = network, None

    def set_box_selector_parameters(self, score_thresh, detections_per_img):
        self.least, self.most = score_thresh, detections_per_img

    def __call__(self, images):
        assert self.least is not None, "the evaluator's requirements were not run"
        found = []
        for image in images:
            hot = torch.nonzero(self.network(image)[0] > 0.5).float()
            box = torch.cat([hot.min(0).values, hot.max(0).values])
            boxes = torch.stack([torch.tensor([0.0, 0.0, 0.0, 2.0, 2.0, 2.0]), box])
            scores = torch.tensor([0.1, 0.9])
            found.append({"box": boxes, "label": torch.zeros(2, dtype=torch.long), "label_scores": scores})
        return found


class DetectorInferer:
    def __init__(self, detector):
        self.detector = detector

    def __call__(self, inputs, network, *args, **kwargs):
        self.detector.network = network
        return self.detector(inputs)
'''


def classification(network: Json) -> tuple[Json, Json]:
    """As breast_density_classification: pictures of three colours, weights loaded by a handler."""
    before = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": 2},
        {"_target_": "ScaleIntensityd", "keys": "image", "minv": 0.0, "maxv": 1.0},
        {"_target_": "Resized", "keys": "image", "spatial_size": [32, 32]},
    ]
    loader = {**CHECKPOINT, "load_path": "$@model_dir + '/model.pt'"}
    saver = {
        "_target_": "ClassificationSaver",
        "output_dir": "@output_dir",
        "batch_transform": "$lambda x: [xx['image'].meta for xx in x]",
        "output_transform": "$monai.handlers.from_engine(['pred'])",
    }
    inference = {
        "import": ["$import glob", "$import os", "$import torchvision"],
        "bundle_root": ".",
        "model_dir": "$@bundle_root + '/models'",
        "output_dir": "$@bundle_root + '/output'",
        "data": {"_target_": "scripts.createList.CreateImageLabelList", "filename": "./configs/sample.json"},
        "test_imagelist": "$@data.create_dataset('Test')[0]",
        "dataset": {
            "_target_": "CacheDataset",
            "data": "$[{'image': i} for i in @test_imagelist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 4},
        "device": DEVICE,
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}],
        },
        "handlers": [loader, {"_target_": "StatsHandler", "iteration_log": False}, saver],
        "evaluator": EVALUATOR,
        "evaluating": ["$setattr(torch.backends.cudnn, 'benchmark', True)", "$@evaluator.run()"],
    }
    said = {
        "type": "image",
        "format": "labels",
        "num_channels": 4,
        "channel_def": dict(zip("0123", "ABCD", strict=True)),
    }
    formats = {
        "inputs": {"image": image_format("Mammogram", [299, 299], 3)},
        "outputs": {"pred": said},
    }
    return inference, {"network_data_format": formats}
