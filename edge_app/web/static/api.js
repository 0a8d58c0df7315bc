// Requests to the device. Every failure is an Error whose message is a sentence for the person at the page.

import { sentence } from "./format.js";

const NO_ANSWER = "The device does not answer. Check that it is switched on and that this screen is in its network.";

export const get = (path) => request("GET", path);
export const send = (method, path, body) => request(method, path, body);

async function request(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(NO_ANSWER);
  }
  if (response.status === 401 && path !== "/api/login") location.assign("/login");
  if (!response.ok) throw new Error(await problemOf(response));
  return response.status === 204 ? null : response.json();
}

async function problemOf(response) {
  try {
    const { detail } = await response.json();
    return sentence(detail);
  } catch {
    return `The device answered with an error (${response.status}). Its log says more.`;
  }
}
