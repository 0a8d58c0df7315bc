// Requests to the device. Every failure is an Error whose message is a sentence for the person at the page.

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
  if (!response.ok) throw new Error(await sentence(response));
  return response.status === 204 ? null : response.json();
}

async function sentence(response) {
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") return detail;
    return detail.map((each) => each.msg).join("; ");
  } catch {
    return `The device answered with an error (${response.status}). Its log says more.`;
  }
}
