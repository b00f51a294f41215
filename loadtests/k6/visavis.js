// The scenarios of loadtests/scenarios for k6: arrivals at a constant rate, objectives as thresholds. Which scenarios and
// which objectives lies in plans.json, which `loadtest k6-plan` writes. Run by `loadtest agree`, or by hand:
//
//   loadtest cluster            says ORIGIN, the certificate and the file with the key
//   SSL_CERT_FILE=CA ORIGIN=https://… KEY=… COLLECTION=… CAPACITY=40 SCENARIO=steady PICTURES=pictures.json k6 run visavis.js
//
// The collection must hold the scenario's residents (resident-0, resident-1, …); PICTURES lists files as
// [{"path", "shows": "face" | "no_face" | "corrupt", "media_type", "person"}]. RATE and SECONDS replace the stages.
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';
import exec from 'k6/execution';

const plan = JSON.parse(open('./plans.json'))[__ENV.SCENARIO || 'smoke'];
const list = JSON.parse(open(__ENV.PICTURES));
const album = { face: [], no_face: [], corrupt: [] };
for (const picture of list) {
  album[picture.shows].push({ ...picture, bytes: open(picture.path, 'b') });
}
const people = 1 + Math.max(...list.map((p) => p.person));
const consent = encodeURIComponent(JSON.stringify({ purposes: ['access_control'], method: 'web_form' }));
const collection = `${__ENV.ORIGIN}/v1/collections/${__ENV.COLLECTION}`;
const series = `${Date.now()}`;

const answeredMs = new Trend('answered_ms', true);
const answered = new Counter('answered');
const refused = new Rate('refused');
const errors = new Rate('errors');

const stages = __ENV.RATE
  ? [{ seconds: Number(__ENV.SECONDS), rate: Number(__ENV.RATE) }]
  : plan.stages.map((s) => ({ seconds: s.seconds, rate: s.rate || s.of_capacity * Number(__ENV.CAPACITY) }));

// A stage for each scenario of k6, one after the other. Rates are whole there: as many as fit into ten seconds.
const scenarios = {};
let begun = 0;
stages.forEach((stage, i) => {
  scenarios[`stage_${i}`] = {
    executor: 'constant-arrival-rate',
    rate: Math.max(1, Math.round(stage.rate * 10)),
    timeUnit: '10s',
    startTime: `${begun}s`,
    duration: `${stage.seconds}s`,
    preAllocatedVUs: Math.max(10, Math.ceil(stage.rate * 2)),
    maxVUs: Math.max(100, Math.ceil(stage.rate * plan.deadline_ms / 1000)),
    gracefulStop: `${Math.ceil(plan.deadline_ms / 1000) + 5}s`,
  };
  begun += stage.seconds;
});

export const options = {
  scenarios,
  thresholds: plan.thresholds,
  discardResponseBodies: true,
  noConnectionReuse: false,
  summaryTrendStats: ['avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'max'],
};

function drawn() {
  let left = Math.random() * Object.values(plan.mix).reduce((a, b) => a + b, 0);
  for (const [operation, weight] of Object.entries(plan.mix)) {
    if ((left -= weight) < 0) return operation;
  }
  return 'identify';
}

function expected(operation, shows) {
  if (shows === 'face') return operation === 'enrol' ? 201 : 200;
  return shows === 'no_face' && operation === 'detect' ? 200 : 422;
}

export default function () {
  const kind = Math.random();
  const shows = kind < plan.corrupt ? 'corrupt' : kind < plan.corrupt + plan.no_face ? 'no_face' : 'face';
  const picture = album[shows][Math.floor(Math.random() * album[shows].length)];
  const operation = drawn();
  const number = exec.scenario.iterationInTest;
  const turns = Math.max(1, Math.floor(plan.enrolled / people));
  const resident = ((number % turns) * people + picture.person) % Math.max(1, plan.enrolled);
  const url = {
    identify: `${collection}/identify`,
    verify: `${collection}/subjects/resident-${resident}/verify`,
    detect: `${__ENV.ORIGIN}/v1/detect`,
    enrol: `${collection}/subjects?id=k6-${series}-${exec.scenario.name}-${number}&consent=${consent}`,
  }[operation];
  const response = http.post(url, picture.bytes, {
    headers: {
      authorization: `Bearer ${__ENV.KEY}`,
      'content-type': picture.media_type,
      'x-deadline-ms': `${plan.deadline_ms}`,
    },
    tags: { operation, name: operation },
    timeout: '60s',
  });
  const tags = { operation };
  const fine = response.status === expected(operation, shows);
  const later = response.status === 503 || response.status === 429;
  if (fine) {
    answeredMs.add(response.timings.duration, tags);
    answered.add(1, tags);
  }
  refused.add(later, tags);
  errors.add(!fine && !later, tags);
}

export function handleSummary(data) {
  const values = (name) => (data.metrics[name] ? data.metrics[name].values : {});
  const seconds = stages.reduce((sum, s) => sum + s.seconds, 0);
  const summary = {
    p50_ms: values('answered_ms').med || 0,
    p99_ms: values('answered_ms')['p(99)'] || 0,
    answered_per_second: (values('answered').count || 0) / seconds,
    dropped: values('dropped_iterations').count || 0,
  };
  const broken = [];
  for (const [name, metric] of Object.entries(data.metrics)) {
    for (const [rule, verdict] of Object.entries(metric.thresholds || {})) {
      if (!verdict.ok) broken.push(`${name}: ${rule}`);
    }
  }
  const out = { stdout: `${JSON.stringify({ ...summary, broken }, null, 2)}\n` };
  if (__ENV.SUMMARY) out[__ENV.SUMMARY] = JSON.stringify(summary);
  return out;
}
