// Swagger UI, from files of this server alone. In a file of its own, since the page's policy runs no inline script.
"use strict";

function csrfToken() {
  const found = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return found ? decodeURIComponent(found[1]) : "";
}

const place = document.getElementById("docs");

SwaggerUIBundle({
  url: place.dataset.schema,
  domNode: place,
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false, // a token that was pasted here is forgotten with the page
  queryConfigEnabled: false, // no `?url=` of a stranger's schema
  validatorUrl: null, // no outside host is asked about the schema
  requestInterceptor: (request) => {
    // Who is signed in may try changes: Django wants the token of its cookie beside the session.
    if (!["GET", "HEAD"].includes(request.method || "GET")) request.headers["X-CSRFToken"] = csrfToken();
    return request;
  },
});
