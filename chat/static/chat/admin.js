"use strict";

// Asks again, every two seconds, for the part of a page that shows an answer in progress; not while nobody looks.
document.addEventListener("DOMContentLoaded", () => {
  for (const part of document.querySelectorAll("[data-chat-live]")) {
    let asking = false;
    setInterval(async () => {
      if (asking || document.hidden) return;
      asking = true;
      try {
        const answer = await fetch(part.dataset.chatLive, { redirect: "error" });
        if (answer.ok) part.innerHTML = await answer.text(); // our own template, which escapes what people wrote
      } catch {
        // the server restarts, or one is signed out: what is shown stays
      } finally {
        asking = false;
      }
    }, 2000);
  }
});

// Forgets what somebody typed on the chat's page who has signed out here: the next person may be another one.
document.addEventListener("DOMContentLoaded", () => {
  const left = document.querySelector("[data-chat-forget]");
  if (!left) return;
  try {
    const theirs = `chat.of.${left.dataset.chatForget}.`; // as in frontend/src/app/store.ts
    for (const name of Object.keys(localStorage)) if (name.startsWith(theirs)) localStorage.removeItem(name);
  } catch {
    // storage may be forbidden: then nothing was kept
  }
  location.replace(left.href);
});
