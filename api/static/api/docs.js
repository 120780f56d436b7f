// Swagger UI, from our own files only. This is a file of its own because the page's policy forbids inline scripts.
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
  persistAuthorization: false, // a pasted token is forgotten with the page
  queryConfigEnabled: false, // no foreign schema by `?url=`
  validatorUrl: null, // do not send the schema to a third party
  requestInterceptor: (request) => {
    // For changes by people who are signed in, Django expects its cookie's token in a header.
    if (!["GET", "HEAD"].includes(request.method || "GET")) request.headers["X-CSRFToken"] = csrfToken();
    return request;
  },
});
