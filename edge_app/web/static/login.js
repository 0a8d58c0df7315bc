// The token is exchanged for a cookie that no script can read.

import { send } from "./api.js";
import { byId } from "./dom.js";
import { startTheme } from "./theme.js";

startTheme();
byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { token } = event.target.elements;
  try {
    await send("POST", "/api/login", { token: token.value });
    location.assign("/");
  } catch (problem) {
    byId("problem").textContent = problem.message;
    token.select();
  }
});
