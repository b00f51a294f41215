"""A training step of an ONNX graph in PyTorch, the way PyTorch is fast: channels last, dense layers and attention by its
own fused functions. Prints what the harness of the training engine (`services/lib/autograd/examples/step.rs`) prints
for the same file: images a second of forward, backward and AdamW, and the most memory the process had.

    pip install torch onnx numpy
    python loadtests/peers/torch_step.py --model FILE.onnx --batch 32 --threads 2 --steps 5
"""

import argparse
import resource
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--frozen", action="store_true", help="batch normalisations keep their statistics")
    return parser.parse_args()


class Network:
    """The graph, node by node, with what belongs together joined."""

    def __init__(self, graph, frozen):
        self.frozen = frozen
        self.nodes = [(n.op_type, list(n.input), list(n.output), attributes(n)) for n in graph.node]
        self.constants, self.tensors = {}, {}
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype == np.float32:
                self.tensors[tensor.name] = torch.tensor(array.copy())
            else:
                self.constants[tensor.name] = array
        statistics = {name for op, inputs, _, _ in self.nodes if op == "BatchNormalization" for name in inputs[3:5]}
        self.trained = []
        for name, tensor in self.tensors.items():
            if name in statistics or tensor.numel() == 1:
                continue
            if tensor.dim() == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            self.tensors[name] = tensor.requires_grad_(True)
            self.trained.append(self.tensors[name])
        inputs = [i for i in graph.input if i.name not in self.tensors and i.name not in self.constants]
        self.input, self.output = inputs[0].name, graph.output[0].name
        self.shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim][1:]
        self.join()

    def join(self):
        """Dense layers written as a product and a sum become one; so does attention."""
        made = {output: i for i, (_, _, outputs, _) in enumerate(self.nodes) for output in outputs}
        readers = {}
        for i, (_, inputs, _, _) in enumerate(self.nodes):
            for name in inputs:
                readers.setdefault(name, []).append(i)
        gone = set()
        for i, (op, inputs, outputs, _) in enumerate(self.nodes):
            if op == "MatMul" and inputs[1] in self.tensors and len(readers.get(outputs[0], [])) == 1:
                j = readers[outputs[0]][0]
                biases = [n for n in self.nodes[j][1] if n in self.tensors and self.tensors[n].dim() == 1]
                if self.nodes[j][0] == "Add" and biases:
                    self.nodes[j] = ("Linear", [inputs[0], inputs[1], biases[0]], self.nodes[j][2], {})
                    gone.add(i)
            if op == "Softmax" and inputs[0] in made:
                scaled = self.nodes[made[inputs[0]]]
                if scaled[0] == "Mul" and scaled[1][0] in made and scaled[1][1] in self.tensors:
                    scores = self.nodes[made[scaled[1][0]]]
                    j = readers[outputs[0]][0]
                    joined = scores[1] + [self.nodes[j][1][1], scaled[1][1]]
                    self.nodes[j] = ("Attention", joined, self.nodes[j][2], {})
                    gone |= {i, made[inputs[0]], made[scaled[1][0]]}
        self.nodes = [n for i, n in enumerate(self.nodes) if i not in gone]

    def __call__(self, batch):
        values = dict(self.tensors)
        values[self.input] = batch
        for op, inputs, outputs, attribute in self.nodes:
            made = self.node(op, [values.get(n) for n in inputs], inputs, attribute)
            values[outputs[0]] = made
        return values[self.output]

    def node(self, op, x, names, a):
        ints = lambda i: [int(v) for v in np.atleast_1d(self.constants[names[i]])]
        if op == "Conv":
            return F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None, a.get("strides", 1), a.get("pads", [0])[:2] if "pads" in a else 0, 1, a.get("group", 1))
        if op == "BatchNormalization":
            return F.batch_norm(x[0], x[3], x[4], x[1], x[2], not self.frozen, 0.1, a.get("epsilon", 1e-5))
        simple = {
            "PRelu": lambda: F.prelu(x[0], x[1].flatten()),
            "Relu": lambda: F.relu(x[0]),
            "Add": lambda: x[0] + x[1],
            "Sub": lambda: x[0] - x[1],
            "Mul": lambda: x[0] * x[1],
            "Div": lambda: x[0] / x[1],
            "MatMul": lambda: x[0] @ x[1],
            "Linear": lambda: F.linear(x[0], x[1].t(), x[2]),
            "Attention": lambda: F.scaled_dot_product_attention(x[0], x[1].transpose(-1, -2), x[2], scale=x[3].item()),
            "Flatten": lambda: x[0].flatten(1),
            "Reshape": lambda: x[0].reshape([x[0].shape[i] if d == 0 else d for i, d in enumerate(ints(1))]),
            "Transpose": lambda: x[0].permute(a["perm"]),
            "Softmax": lambda: x[0].softmax(a.get("axis", -1)),
            "Gelu": lambda: F.gelu(x[0]),
            "Dropout": lambda: F.dropout(x[0], a.get("ratio", 0.5)),
            "GlobalAveragePool": lambda: x[0].mean((2, 3), keepdim=True),
            "Concat": lambda: torch.cat(x, a["axis"]),
            "LayerNormalization": lambda: F.layer_norm(x[0], x[1].shape, x[1], x[2], a.get("epsilon", 1e-5)),
            "Identity": lambda: x[0],
        }
        if op in simple:
            return simple[op]()
        if op == "Gemm":
            return F.linear(x[0], x[1] if a.get("transB") else x[1].t(), x[2])
        if op == "ReduceMean":
            return x[0].mean(a["axes"] if "axes" in a else ints(1), keepdim=bool(a.get("keepdims", 1)))
        if op == "Gather":
            return x[0].index_select(a.get("axis", 0), torch.tensor(ints(1)))
        raise SystemExit(f"{op} is not known here")


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def main():
    given = arguments()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    network = Network(onnx.load(given.model).graph, given.frozen)
    batch = (torch.rand(given.batch, *network.shape) * 2 - 1).contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.trained, lr=1e-4, weight_decay=5e-4)
    weights, times = None, []
    for _ in range(given.steps + 1):
        begin = time.perf_counter()
        optimiser.zero_grad()
        embeddings = network(batch)
        if weights is None:
            weights = (torch.rand(embeddings.shape) * 2 - 1) / given.batch
        embeddings.backward(weights)
        optimiser.step()
        times.append(time.perf_counter() - begin)
    # The first step pays for memory.
    median = sorted(times[1:])[len(times[1:]) // 2]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rate = given.batch / median
    print(f"engine=pytorch-{torch.__version__} images_per_s={rate:.2f} median_ms={median * 1e3:.0f} peak_mib={peak}")


if __name__ == "__main__":
    main()
