// A loop that takes events from the Runtime API. It stands in for Lambda's own client, whose
// package builds native code from sources that are not in the registry; it does less than that
// client, which is in favour of Node.js.

import { Agent, request } from "node:http";

import { handler } from "./app.mjs";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const path_ = `/2018-06-01/runtime${path}`;
    const sent = request({ agent, host, port, method, path: path_ }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, text: Buffer.concat(chunks) }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

for (;;) {
  const { headers, text } = await call("GET", "/invocation/next");
  const id = headers["lambda-runtime-aws-request-id"];
  try {
    const answer = await handler(JSON.parse(text), { awsRequestId: id });
    await call("POST", `/invocation/${id}/response`, JSON.stringify(answer ?? null));
  } catch (error) {
    const body = { errorType: error.name, errorMessage: error.message };
    await call("POST", `/invocation/${id}/error`, JSON.stringify(body));
  }
}
