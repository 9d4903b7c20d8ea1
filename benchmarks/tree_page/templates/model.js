"use strict";
// The tree as flat arrays. A key numbers a class of any level: the finest first, then the others.
const data = JSON.parse(document.getElementById("data").textContent);
const levels = data.levels, topLevel = levels.length - 1;
const firstKey = [0];
for (const level of levels) firstKey.push(firstKey.at(-1) + level.names.length);
const total = firstKey.at(-1);
const levelOf = new Uint8Array(total), parentOf = new Int32Array(total).fill(-1);
const numClasses = new Int32Array(total), numPictures = new Float64Array(total);
const childStart = new Int32Array(total + 1);

levels.forEach((level, depth) => {
  levelOf.fill(depth, firstKey[depth], firstKey[depth + 1]);
  level.parents?.forEach((parent, node) => {
    parentOf[firstKey[depth] + node] = firstKey[depth + 1] + parent;
  });
});
numClasses.fill(1, 0, firstKey[1]);
if (data.counts) numPictures.set(data.counts);
for (let key = 0; key < total; key++) {  // a class comes before its superclasses
  const parent = parentOf[key];
  if (parent < 0) continue;
  numClasses[parent] += numClasses[key];
  numPictures[parent] += numPictures[key];
  childStart[parent + 1]++;
}
for (let key = 0; key < total; key++) childStart[key + 1] += childStart[key];
const childKeys = new Int32Array(childStart[total]), filled = childStart.slice();
for (let key = 0; key < total; key++) {
  if (parentOf[key] >= 0) childKeys[filled[parentOf[key]]++] = key;
}

// the classes with pictures below each key
const pictured = new Map();
for (const label of Object.keys(data.pictures).map(Number)) {
  for (let key = label; key >= 0; key = parentOf[key]) {
    if (!pictured.has(key)) pictured.set(key, []);
    pictured.get(key).push(label);
  }
}

const hasChildren = (key) => childStart[key + 1] > childStart[key];
const nodeOf = (key) => key - firstKey[levelOf[key]];
const fullName = (key) => levels[levelOf[key]].names[nodeOf(key)];
const stabilityOf = (key) => levels[levelOf[key]].stability?.[nodeOf(key)];

// "fruit/apple" below "fruit" is shown as "apple"
function nameOf(key) {
  const name = fullName(key);
  if (parentOf[key] < 0) return name;
  const prefix = fullName(parentOf[key]) + "/";
  return name.length > prefix.length && name.startsWith(prefix) ? name.slice(prefix.length) : name;
}

function ancestorsOf(key) {
  const found = [];
  for (let above = parentOf[key] ?? -1; above >= 0; above = parentOf[above]) found.unshift(above);
  return found;
}

// At most `limit` pictures below a key, of as many of its classes as possible.
function picturesOf(key, limit) {
  const labels = pictured.get(key) ?? [], found = [];
  for (let round = 0; found.length < limit; round++) {
    const before = found.length;
    for (const label of labels) {
      const picture = data.pictures[label][round];
      if (picture !== undefined && found.length < limit) found.push({ label, picture });
    }
    if (found.length === before) break;
  }
  return found;
}

const collator = new Intl.Collator(undefined, { numeric: true });
const orders = {
  size: (a, b) => numClasses[b] - numClasses[a] || a - b,
  name: (a, b) => collator.compare(nameOf(a), nameOf(b)) || a - b,
  number: (a, b) => a - b,
  stability: (a, b) => (stabilityOf(a) ?? 101) - (stabilityOf(b) ?? 101) || a - b,
};
let order = "size", sorted = new Map();

function childrenOf(key) {  // -1 for the root, which has no row
  if (!sorted.has(key)) {
    const below = key < 0
      ? Array.from({ length: total - firstKey[topLevel] }, (_, node) => firstKey[topLevel] + node)
      : Array.from(childKeys.subarray(childStart[key], childStart[key + 1]));
    sorted.set(key, below.sort(orders[order]));
  }
  return sorted.get(key);
}

function counted(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function sizesOf(key) {
  const parts = [];
  if (hasChildren(key)) parts.push(counted(numClasses[key], "class", "classes"));
  if (data.counts) parts.push(counted(numPictures[key], "picture", "pictures"));
  return parts.join(", ");
}
