// The prediction of a model that `lungcli export` wrote: node verdict.mjs MODEL.onnx SLICE.png
// Needs npm packages onnxruntime-web and pngjs (in a browser, a canvas reads the picture instead). The facts lie beside
// the model in MODEL.json; SLICE.png is a slice as `lungcli predict --prepared-to` writes it.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";
import { PNG } from "pngjs";

const [model, slice] = process.argv.slice(2);
const facts = JSON.parse(await readFile(model.replace(/\.\w+$/, ".json"), "utf8"));
const session = await ort.InferenceSession.create(await readFile(model), { executionProviders: ["wasm"] });
const { width, height, data } = PNG.sync.read(await readFile(slice));
const grey = Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]);
const { probabilities } = await session.run({ slice: new ort.Tensor("uint8", grey, [1, 1, height, width]) });
const values = Array.from(probabilities.data), surest = Math.max(...values);
console.log(JSON.stringify({
  label: facts.classes[values.indexOf(surest)],
  probabilities: Object.fromEntries(facts.classes.map((name, i) => [name, values[i]])),
  referred: surest < (facts.referral_threshold ?? 0),
}));
