"""One view, which makes a user and enqueues a task in the same transaction."""

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, JsonResponse

from shop.tasks import welcome


@transaction.atomic
def sign_up(request: HttpRequest) -> JsonResponse:
    user = User.objects.create_user(request.POST["name"], request.POST["email"])
    result = welcome.enqueue(user.pk)
    if request.POST["name"] == "eve":
        raise PermissionError("neither the user nor the task is there after this")
    return JsonResponse({"id": user.pk, "task": result.id}, status=201)
